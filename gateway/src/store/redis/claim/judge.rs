//! What to do about the count, by what the partitions tell. Pure.

use tidings_shared::{Count, Partition, Partitions};

/// What one partition tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub count: Count,
    /// For which count it was claimed last.
    pub claim: Count,
    /// Whether somebody goes by the count, or is just changing it.
    pub in_use: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Nothing: the count is the own one.
    Held,
    /// These lack the count that the others have: their data is lost, or who claimed it has ended in the middle.
    Give(Vec<Partition>),
    /// Claim the count anew, in all of them.
    Take,
    /// The same, but somebody is just changing it.
    Wait,
    /// Others go by this one.
    Refused(Partitions),
}

/// Judges what each of all partitions that there may be tells; none of one whose server is away.
pub(super) fn judge(own: Partitions, told: &[(Partition, Option<Told>)]) -> Judged {
    let known = || told.iter().filter_map(|(partition, told)| Some((*partition, (*told)?)));
    let in_use = known().find_map(|(_, told)| match told.count {
        Count::Is(other) if other != own && told.in_use => Some(other),
        _ => None,
    });
    if let Some(other) = in_use {
        return Judged::Refused(other);
    }
    let is_own = |told: &Told| told.count == Count::Is(own);
    let is_taken = |told: &Told| told.count == Count::Changing && told.claim == Count::Is(own);
    let fits = |told: &Told| told.count == Count::Unset || is_own(told) || is_taken(told);
    let changing = known().any(|(_, told)| told.count == Count::Changing && told.in_use);
    let anew = if changing { Judged::Wait } else { Judged::Take };
    if !known().any(|(_, told)| is_own(&told)) || !known().all(|(_, told)| fits(&told)) {
        return anew;
    }
    // One that was taken may be given the count only when all are taken, which the first one tells.
    let first = known().find(|(partition, _)| *partition == Partition::FIRST);
    let all_taken = first.is_some_and(|(_, told)| is_own(&told));
    if first.is_some() && !all_taken && known().any(|(_, told)| is_taken(&told)) {
        return anew;
    }
    let lacks = |told: &Told| told.count == Count::Unset || all_taken && is_taken(told);
    let lacking: Vec<Partition> = known().filter(|(_, told)| lacks(told)).map(|(partition, _)| partition).collect();
    if lacking.is_empty() { Judged::Held } else { Judged::Give(lacking) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Partitions = Partitions::CLUSTER;

    /// Told by words, one for each partition: `-` away, `.` nothing, a count, `0/16` taken for it, `1!` in use.
    fn judged(words: &str) -> Judged {
        let partitions = Partitions::MOST.all();
        let told = partitions.zip(words.split(' ')).map(|(partition, word)| (partition, told(word)));
        judge(OWN, &told.collect::<Vec<_>>())
    }

    fn told(word: &str) -> Option<Told> {
        let count = word.trim_end_matches('!');
        let (count, claim) = count.split_once('/').unwrap_or((count, count));
        match word {
            "-" => None,
            "." => Some(Told { count: Count::Unset, claim: Count::Unset, in_use: false }),
            _ => {
                Some(Told { count: count.parse().unwrap(), claim: claim.parse().unwrap(), in_use: word.ends_with('!') })
            }
        }
    }

    fn give(numbers: &[u16]) -> Judged {
        Judged::Give(numbers.iter().map(|number| Partitions::MOST.get(*number).unwrap()).collect())
    }

    #[test]
    fn nothing_is_to_do_where_all_who_are_there_tell_the_own_count() {
        for words in ["16 16 16", "16! 16! 16!", "- 16 -"] {
            assert_eq!(judged(words), Judged::Held, "{words}");
        }
    }

    #[test]
    fn a_count_that_is_in_use_is_left_alone() {
        for words in ["1! 1! 1!", "16 1! 16", "0/16 1!", "- . 1!"] {
            assert_eq!(judged(words), Judged::Refused(Partitions::ONE), "{words}");
        }
    }

    #[test]
    fn a_count_is_claimed_where_there_is_none_or_nobody_goes_by_it() {
        for words in [". . .", "1 1 1", "1 - 1", "16 1 16", "0/1 0/1 0/1", "0/16 0/16 0/16", "- - -", "16 16 0/1"] {
            assert_eq!(judged(words), Judged::Take, "{words}");
        }
    }

    #[test]
    fn while_somebody_changes_it_others_wait() {
        for words in ["0/16! . .", "0/1! 1 1", "0/16! 16! 16!"] {
            assert_eq!(judged(words), Judged::Wait, "{words}");
        }
        assert_eq!(judged("16! 0/16! 16!"), give(&[1]), "it is as good as done");
    }

    #[test]
    fn what_lacks_the_count_of_the_others_is_given_it() {
        assert_eq!(judged("16 . 16 ."), give(&[1, 3]));
        assert_eq!(judged(". 16! 16!"), give(&[0]));
        assert_eq!(judged("16 0/16 . -"), give(&[1, 2]));
        assert_eq!(judged("- 16 ."), give(&[2]));
    }

    #[test]
    fn what_was_taken_waits_until_all_are() {
        for words in ["0/16 16 16", ". 0/16 16"] {
            assert_eq!(judged(words), Judged::Take, "{words}");
        }
        assert_eq!(judged("- 0/16 16"), Judged::Held, "nobody knows; its beacons will fail");
    }
}
