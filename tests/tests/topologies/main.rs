//! The harness's topologies: each comes up on each server, fails over, and its faults do what they say.

mod access;
mod cluster;
mod faults;
mod gateway;
mod publisher;
mod sentinel;
mod tls;

/// Each function once for each server.
macro_rules! on_each_server {
    ($($test:ident),+ $(,)?) => {
        on_each_server!(@ redis_7 Redis7 $($test),+);
        on_each_server!(@ valkey_8 Valkey8 $($test),+);
        on_each_server!(@ redis_8 Redis8 $($test),+);
    };
    (@ $module:ident $server:ident $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(tidings_tests::Server::$server).await;
                }
            )+
        }
    };
}

pub(crate) use on_each_server;
