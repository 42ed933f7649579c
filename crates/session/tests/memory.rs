//! A session stays within its share of Redis' memory. `examples/memory.rs` measures the same for a
//! million.

#[expect(dead_code, unreachable_pub, reason = "an example is a program of its own")]
#[path = "../examples/memory.rs"]
mod memory;

#[tokio::test]
async fn a_signed_in_session_takes_250_bytes_alone_and_180_beside_another() {
    for (per_user, most) in [(1, 250.0), (2, 180.0)] {
        // A 32nd of a million fills Redis' hash tables to the same load factor as a million.
        let measured = memory::measure(31_250, per_user, false).await.expect("redis answers");
        let bytes = measured.bytes_per_session;
        println!("{per_user} per user: {bytes:.1} bytes per session");
        assert!(bytes <= most, "{bytes:.1} bytes per session with {per_user} per user");
        assert!(bytes > 64.0, "the record alone is as long");
    }
}
