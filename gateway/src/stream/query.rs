//! The query of a URL as parameters.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use tidings_shared::Invalid;

/// A parameter of a query. As in forms, `+` means a blank.
#[derive(Debug)]
pub struct QueryParam<'a> {
    /// Its name. Bytes that are no UTF-8 are replaced, so such a name is that of no known parameter.
    pub name: String,
    value: Cow<'a, [u8]>,
}

/// The parameters of a query, in order.
pub fn params(query: &str) -> impl Iterator<Item = QueryParam<'_>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        QueryParam { name: String::from_utf8_lossy(&decode(name)).into_owned(), value: decode(value) }
    })
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        return percent_decode(text.replace('+', " ").as_bytes()).collect::<Vec<u8>>().into();
    }
    percent_decode(text.as_bytes()).into()
}

impl QueryParam<'_> {
    /// The value, which must be UTF-8.
    pub fn value(&self) -> Result<&str, Invalid> {
        std::str::from_utf8(&self.value).map_err(|_| {
            let shown = String::from_utf8_lossy(&self.value);
            Invalid::new(self.name.clone(), &shown, "UTF-8 behind each %, such as %C3%BC for \u{fc}")
        })
    }

    /// The value of a cursor, `?` if it is no text: an unreadable cursor, not an absent one.
    pub fn cursor(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.value).unwrap_or("?");
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// The names of parameters that nobody knows: printable, bounded in length and number, none twice.
#[derive(Debug, Default)]
pub struct IgnoredNames(Vec<String>);

impl IgnoredNames {
    /// The most that are kept.
    const MAX: usize = 16;
    /// The most characters of each.
    const MAX_CHARS: usize = 64;

    /// Adds a name. Those over the bound are ignored without being named.
    pub fn add(&mut self, name: &str) {
        if self.0.len() == Self::MAX {
            return;
        }
        let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let mut shown: String = name.chars().take(Self::MAX_CHARS).map(printable).collect();
        if name.chars().nth(Self::MAX_CHARS).is_some() {
            shown.push('…');
        }
        if !self.0.contains(&shown) {
            self.0.push(shown);
        }
    }

    /// The names, in the order in which they came.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_parameter_is_decoded_once() {
        let all: Vec<_> = params("a=b%20c+d%2B&&e&f==&%C3%BC=%25C3")
            .map(|param| (param.name.clone(), param.value().map(str::to_owned).unwrap()))
            .collect();
        let expected = [("a", "b c d+"), ("e", ""), ("f", "="), ("ü", "%C3")];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_no_utf_8_is_an_error_but_for_a_cursor() {
        let param = params("tail=%ff").next().unwrap();
        let error = param.value().unwrap_err();
        assert_eq!((error.field(), error.value()), ("tail", "\u{fffd}"));
        assert_eq!(param.cursor().as_deref(), Some("?"));
        assert_eq!(params("cursor=").next().unwrap().cursor(), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_as_a_form_is_read_back(name: String, value: String) {
            let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%20", "+");
            let query = format!("{}={}", encode(&name), encode(&value));
            let param = params(&query).next().unwrap();
            prop_assert_eq!((param.name.as_str(), param.value().unwrap()), (name.as_str(), value.as_str()));
        }

        #[test]
        fn names_are_bounded(names in proptest::collection::vec(".{0,100}", 0..40)) {
            let mut ignored = IgnoredNames::default();
            names.iter().for_each(|name| ignored.add(name));
            let ignored = ignored.into_vec();
            prop_assert!(ignored.len() <= 16);
            prop_assert!(ignored.iter().all(|name| name.chars().count() <= 65 && !name.contains(char::is_control)));
        }
    }
}
