use proptest::prelude::*;

use super::*;

fn url(text: &str) -> RedisUrl {
    text.parse().unwrap_or_else(|wrong| panic!("{text}: expected {wrong}"))
}

#[test]
fn what_it_shows_parses_and_has_no_password() {
    for (text, shown) in [
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
        ("redis://cache.internal/3", "redis://cache.internal:6379/3"),
        ("redis://cache/", "redis://cache:6379"),
        ("redis://[::1]:6380/0", "redis://[::1]:6380"),
        ("rediss://:hunter2@cache:6379/1", "rediss://:***@cache:6379/1"),
        ("redis://app:hun%23ter2@cache", "redis://app:***@cache:6379"),
        ("redis://app:hunter2@hunter2@cache", "redis://app:***@cache:6379"),
        ("redis+sentinel://a,b:1,[::1]/mymaster", "redis+sentinel://a:26379,b:1,[::1]:26379/mymaster"),
        (
            "rediss+sentinel://app:hunter2@a/main%20one/2?sentinel_user=s&sentinel_password=hunter2",
            "rediss+sentinel://app:***@a:26379/main%20one/2?sentinel_user=s&sentinel_password=***",
        ),
        ("redis+cluster://:hunter2@a:7000,b:7001", "redis+cluster://:***@a:7000,b:7001"),
        ("rediss+cluster://a/0", "rediss+cluster://a:6379"),
    ] {
        let read = url(text);
        assert_eq!(read.to_string(), shown);
        assert!(!format!("{read:?}").contains("hunter2"), "{read:?}");
        assert_eq!(url(shown).to_string(), shown);
        assert_eq!(url(&read.expose()), read);
    }
}

#[test]
fn each_part_comes_to_its_place() {
    let read = url("rediss+sentinel://app:a%2Fb%C3%9F@s1,s2:7/main/4?sentinel_password=p%26q");
    assert_eq!(read.servers, [Server::new("s1", 26379), Server::new("s2", 7)]);
    assert_eq!((read.tls, read.database), (true, 4));
    assert_eq!(read.login.user.as_deref(), Some("app"));
    assert_eq!(read.login.password.as_ref().map(Secret::expose), Some("a/bß"));
    let Topology::Sentinel { primary, login } = read.topology else { panic!("{read:?}") };
    assert_eq!((primary.as_str(), login.user), ("main", None));
    assert_eq!(login.password.as_ref().map(Secret::expose), Some("p&q"));
}

#[test]
fn a_cluster_has_sixteen_partitions_unless_told() {
    assert_eq!(url("redis+cluster://a").partitions().count(), 16);
    assert_eq!(url("redis+sentinel://a/m").partitions().count(), 1);
    assert_eq!(url("redis://a").partitions().count(), 1);
}

#[test]
fn an_error_names_the_part_and_repeats_nothing() {
    use WrongUrl::*;
    for (text, wrong) in [
        ("", Scheme),
        ("redis", Scheme),
        ("hunter2:6379", Scheme),
        ("http://hunter2", Scheme),
        ("redis+hunter2://a", Scheme),
        ("unix:///hunter2", Scheme),
        ("redis://", Host),
        ("redis://0.0.0.0", Host),
        ("redis://:hunter2", Host),
        ("redis://a b", Host),
        ("redis://[hunter2]", Host),
        ("redis+cluster://a,,b", Host),
        ("redis://a,hunter2", OneHost),
        ("redis://a:hunter2", Port),
        ("redis://a:0", Port),
        ("redis://[::1]6379", Port),
        ("redis://hunter2@cache", Login),
        ("redis://app:hun#hunter2@cache", Login),
        ("redis://app:hun/hunter2@cache", Login),
        ("redis://app:hun?hunter2@cache", Login),
        ("redis://app:1/hunter2@cache", Login),
        ("redis://app:%ff@cache", Login),
        ("redis://cache/hunter2", Database),
        ("redis://cache/1/2", Database),
        ("redis://cache/-1", Database),
        ("redis://cache?password=hunter2", Query),
        ("redis://cache#hunter2", Query),
        ("redis+sentinel://a", Primary),
        ("redis+sentinel://a/", Primary),
        ("redis+sentinel://a/m/hunter2", Database),
        ("redis+sentinel://a/m?master=hunter2", Query),
        ("redis+sentinel://a/m?sentinel_user=hunter2", Query),
        ("redis+cluster://a/1", ClusterDatabase),
        ("redis+cluster://a?hunter2=1", Query),
    ] {
        let error = text.parse::<RedisUrl>().unwrap_err();
        assert_eq!(error, wrong, "{text}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

proptest! {
    #[test]
    fn never_panics(text: String) {
        let _ = text.parse::<RedisUrl>();
        let _ = format!("redis+sentinel://{text}").parse::<RedisUrl>();
    }

    #[test]
    fn logins_travel(user: String, password in "\\PC{1,20}", name in "\\PC{1,20}") {
        let login = Login { user: Some(user).filter(|user| !user.is_empty()), password: Some(Secret::new(password)) };
        let topology = Topology::Sentinel { primary: name, login: login.clone() };
        let servers = vec![Server::new("a", 1), Server::new("::1", 2)];
        let made = RedisUrl { topology, tls: true, servers, login, database: 9 };
        prop_assert_eq!(url(&made.expose()), made);
    }
}
