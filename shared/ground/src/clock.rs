//! The wall clock: for people, and for times that a state carries. It may jump;
//! nothing that must be right rests on it.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time of day.
#[derive(Clone, Default)]
pub struct WallClock {
    told: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
}

impl WallClock {
    /// A clock that shows what `now_ms` says, milliseconds since 1970.
    pub fn telling(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            told: Some(Arc::new(now_ms)),
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        if let Some(told) = &self.told {
            return told();
        }
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.told.is_some() { "told" } else { "real" };
        write!(f, "WallClock({kind})")
    }
}
