//! Redis by way of the host (section 13).

use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::RedisClient;
use cofferdam_abi::testing::Guest;
use cofferdam_abi::{RootEffect, Token};

use super::{Embed, setup, setup_version, source};
use crate::world::{Engine, Look};

const ANSWERED: &str = "on redis_call_response
    (!say (local.get $a)) (!say (local.get $b)) (!say (local.get $c)) (!say (local.get $d)) (!body #9)\n";

fn client(guest: &Guest) -> RedisClient {
    let mut effects = guest.vm.borrow_mut().take_root_effects();
    match effects.pop() {
        Some(RootEffect::RedisClient { client, .. }) if effects.is_empty() => *client,
        other => panic!("{effects:?} {other:?}"),
    }
}

/// A guest that has a client and asks `PING` on tick.
fn asking(engine: Engine) -> Guest {
    let guest = engine.guest_of(
        setup(),
        &source(&format!(
            "on configure\n (drop (!redis_init {{\"c?db=1\"}} #0 #0 #0 #0 #0))
            on tick\n (!say (!redis_call {{\"c\"}} {{\"*1\\0d\\0a$4\\0d\\0aPING\\0d\\0a\"}} #24)) (!say (!token))
            {ANSWERED}"
        )),
    );
    guest.asked();
    guest
}

fn reply(guest: &Guest, token: Token, reply: Option<&'static str>) {
    let told = guest
        .vm
        .borrow_mut()
        .redis_response(token, reply.map(Bytes::from));
    told.unwrap_or_else(|trap| panic!("{trap}"));
}

each_engine! {
    fn a_client_is_as_the_guest_wants_it(engine) {
        let guest = engine.guest_of(setup(), &source("on tick
            (!say (!redis_init {\"c?db=3&buffer_flush_timeout=10&max_buffer_size_before_flush=2048\"} {\"user\"} {\"secret\"} #1500))"));
        assert_eq!(guest.tick(), ["0"]);
        assert_eq!(client(&guest), RedisClient {
            cluster: "c".into(),
            user: "user".into(),
            password: "secret".into(),
            database: 3,
            timeout: Some(Duration::from_millis(1500)),
            flush_timeout: Some(Duration::from_millis(10)),
            flush_bytes: Some(2048),
        });
    }

    fn a_client_needs_no_more_than_a_cluster(engine) {
        for upstream in ["c", "c?", "c?&", "c?new_option=1"] {
            let guest = engine.guest_of(setup(), &source(&format!("on tick\n (!say (!redis_init {{\"{upstream}\"}} #0 #0 #0 #0 #0))")));
            assert_eq!(guest.tick(), ["0"], "{upstream}");
            let client = client(&guest);
            assert_eq!((client.cluster, client.database, client.timeout), ("c".into(), 0, None));
            assert_eq!((client.flush_timeout, client.flush_bytes), (None, None));
        }
    }

    fn what_makes_no_client_answers_2(engine) {
        for upstream in ["no", "", "no?db=1", "c?db=x", "c?db=", "c?db=-1", "c?db=4294967296", "c?buffer_flush_timeout=1s", "c?\\ff", "redis:6379"] {
            let guest = engine.guest_of(setup(), &source(&format!("on tick\n (!say (!redis_init {{\"{upstream}\"}} #0 #0 #0 #0 #0))
                (!say (!redis_call {{\"c\"}} {{\"q\"}} #24))")));
            assert_eq!(guest.tick(), ["2", "10"], "{upstream}");
            assert!(guest.asked().is_empty());
        }
    }

    fn the_last_client_of_a_cluster_is_the_one_meant(engine) {
        let guest = engine.guest_of(setup(), &source("on tick
            (drop (!redis_init {\"c?db=1\"} #0 #0 #0 #0 #0)) (drop (!redis_init {\"c?db=2\"} #0 #0 #0 #0 #0))"));
        guest.tick();
        assert_eq!(client(&guest).database, 2);
    }

    fn a_command_and_its_reply_pass_byte_for_byte(engine) {
        let guest = asking(engine);
        assert_eq!(guest.tick(), ["0", "7"]);
        let effects = guest.vm.borrow_mut().take_root_effects();
        let RootEffect::Call { token, call, .. } = &effects[0] else { panic!("{effects:?}") };
        let cofferdam_abi::Callout::Redis(call) = &**call else { panic!("{call:?}") };
        assert_eq!((&call.cluster[..], &call.query[..]), (&b"c"[..], &b"*1\r\n$4\r\nPING\r\n"[..]));
        reply(&guest, *token, Some("-ERR \0odd\r\n"));
        assert_eq!(guest.logs(), ["1", "7", "0", "11", "-ERR \0odd\r\n"]);
        reply(&guest, *token, Some("+again\r\n"));
        assert!(guest.logs().is_empty());
    }

    fn no_reply_is_another_status(engine) {
        let guest = asking(engine);
        guest.tick();
        reply(&guest, guest.tokens()[0], None);
        assert_eq!(guest.logs(), ["1", "7", "1", "0", "1"]);
    }

    fn buffer_9_is_readable_only_there_and_never_writable(engine) {
        let guest = engine.guest_of(setup(), &source("on configure\n (drop (!redis_init {\"c\"} #0 #0 #0 #0 #0))
            on tick\n (!body #9) (!say (!get_buffer_status #9 #-1 #-1)) (drop (!redis_call {\"c\"} {\"q\"} #24))
            on redis_call_response\n (!say (!set_buffer_bytes #9 #0 #0 {\"x\"})) (!body #9) (!body #4) (!body #10)"));
        guest.asked();
        assert_eq!(guest.tick(), ["2", "2"]);
        reply(&guest, guest.tokens()[0], Some("+OK\r\n"));
        assert_eq!(guest.logs(), ["2", "+OK\r\n", "1", "2"]);
    }

    fn the_version_that_has_buffer_9_finds_it_absent_elsewhere(engine) {
        let guest = engine.guest_of(setup_version("proxy_abi_version_0_2_100"), &source("on tick\n (!body #9) (!body #10)
            (!say (!get_buffer_status #9 #28 #32)) (!say (!set_buffer_bytes #9 #0 #0 {\"x\"}))"));
        assert_eq!(guest.tick(), ["1", "2", "1", "2"]);
    }

    fn a_command_that_cannot_be_sent_is_refused(engine) {
        let guest = asking(engine);
        guest.asked();
        let refusing = engine.guest_of(setup(), &source("on tick\n (i32.store #24 #99)
            (!say (!redis_call {\"c\"} {\"q\"} #24)) (!say (!redis_call {\"no\"} {\"q\"} #24))
            (drop (!redis_init {\"c\"} #0 #0 #0 #0 #0))
            (!say (!redis_call {\"c\"} #0 #0 #24)) (!say (!redis_call {\"c\"} {\"q\"} #-1)) (!say (!token))
            (!say (!redis_call {\"c?db=1\"} {\"q\"} #24))"));
        assert_eq!(refusing.tick(), ["10", "2", "2", "6", "99", "0"]);
    }

    fn each_root_needs_a_client_of_its_own(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (!say (!redis_call {\"c\"} {\"q\"} #24))
            on configure\n (if (i32.eq (local.get $a) #1) (then (drop (!redis_init {\"c\"} #0 #0 #0 #0 #0))))"));
        let other = guest.vm.borrow_mut().create_root(guest.plugin.clone()).expect("root");
        assert_eq!(guest.tick(), ["0"]);
        guest.vm.borrow_mut().tick(other).expect("no trap");
        assert_eq!(guest.logs(), ["10"]);
    }
}
