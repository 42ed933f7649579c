//! Generous limits for tests of behaviour rather than speed, because the machine may be busy.

use std::time::Duration;

use tracera_session::RedisLimits;

pub(crate) const PATIENT: RedisLimits = RedisLimits {
    response: Duration::from_secs(20),
    connect: Duration::from_secs(20),
    grace: Duration::from_secs(20),
    heartbeat: Duration::from_secs(1),
    total: Duration::from_secs(30),
};
