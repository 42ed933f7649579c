//! Warnings about passwords that would cross a foreign network unencrypted.

use super::*;

#[test]
fn a_password_that_would_cross_a_foreign_network_in_clear_text_is_a_warning() {
    for (url, warned) in [
        ("redis://:pw@redis.example", true),
        ("redis://user:pw@redis.example:6380/1", true),
        ("redis://:pw@192.0.2.1:6379", true),
        ("redis://:pw@172.32.0.1", true),
        ("redis://:pw@[2001:db8::1]:6379", true),
        ("redis://:pw@[::ffff:192.0.2.1]", true),
        ("valkey://:pw@redis.example", true),
        ("redis+cluster://:pw@10.0.0.1:7000,redis.example:7001", true),
        ("redis+sentinel://:pw@redis.example/tracera", true),
        ("redis+sentinel://redis.example/tracera?sentinel_password=pw", true),
        ("rediss://:pw@redis.example", false),
        ("valkeys://:pw@redis.example", false),
        ("rediss+sentinel://:pw@redis.example/tracera?sentinel_password=pw", false),
        ("redis://redis.example", false),
        ("redis://user@redis.example", false),
        ("redis+sentinel://redis.example/tracera?sentinel_password=", false),
        ("redis://:pw@localhost", false),
        ("redis://:pw@127.0.0.1:6379/0", false),
        ("redis://:pw@[::1]:6379", false),
        ("redis://:pw@10.1.2.3", false),
        ("redis://:pw@172.31.0.1:6379", false),
        ("redis://:pw@192.168.0.9", false),
        ("redis://:pw@[fd00::1]:6379", false),
        ("redis://:pw@[::ffff:10.0.0.1]", false),
        ("redis://:pw@redis:6379", false),
        ("redis+cluster://:pw@10.0.0.1:7000,node2:7001", false),
    ] {
        let warnings = warned_about(&accepted(&[("REDIS_URL", url)]));
        assert_eq!(warnings.contains(&"REDIS_URL"), warned, "{url}");
    }
    for (host, password, warned) in [
        ("redis.example", "pw", true),
        ("redis.example", "", false),
        ("redis", "pw", false),
        ("::1", "pw", false),
    ] {
        let warnings =
            warned_about(&accepted(&[("REDIS_HOST", host), ("REDIS_PASSWORD", password)]));
        assert_eq!(warnings.contains(&"REDIS_PASSWORD"), warned, "{host} {password}");
    }
    for (url, warned) in [
        ("postgres://u:pw@db.example/tracera", true),
        ("postgresql://u:pw@192.0.2.1:5432/tracera", true),
        ("postgres://u:pw@[2001:db8::1]/tracera", true),
        ("postgres://u@db.example/tracera?password=pw", true),
        ("postgres://u:pw@localhost/tracera?host=db.example", true),
        ("postgres://u:pw@db.example/tracera?sslmode=disable", true),
        ("postgres://u:pw@db.example/tracera?sslmode=allow", true),
        ("postgres://u:pw@db.example/tracera?sslmode=prefer", true),
        ("postgres://u:pw@db.example/tracera?sslmode=require", false),
        ("postgres://u:pw@db.example/tracera?sslmode=verify-ca", false),
        ("postgres://u:pw@db.example/tracera?ssl-mode=verify-full", false),
        ("postgres://u@db.example/tracera", false),
        ("postgres://u:pw@localhost/tracera", false),
        ("postgres://u:pw@10.0.0.1/tracera", false),
        ("postgres://u:pw@[fd00::1]:5432/tracera", false),
        ("postgres://u:pw@postgres/tracera", false),
        ("postgres://u:pw@db.example/tracera?host=/run/postgresql", false),
        ("postgres://u:pw@%2Frun%2Fpostgresql/tracera", false),
        ("postgres://u:pw@db.example/tracera?hostaddr=10.0.0.1", false),
    ] {
        let warnings = warned_about(&accepted(&[("DATABASE_URL", url)]));
        assert_eq!(warnings.contains(&"DATABASE_URL"), warned, "{url}");
    }
}

#[test]
fn the_warning_names_the_remedy_and_not_the_password() {
    let config = accepted(&[
        ("REDIS_URL", "redis://:canary@redis.example"),
        ("DATABASE_URL", "postgres://u:canary@db.example/tracera"),
    ]);
    let text = config.warnings().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("write rediss") && text.contains("sslmode=verify-full"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}
