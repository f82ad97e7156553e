//! Panics of user code: caught, with message and place, as failures of one
//! attempt. All other threads keep the hook that was there.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static IN_ATTEMPT: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes the process' hook keep the panics of attempts; only the first call
/// does anything.
pub(super) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IN_ATTEMPT.get() {
                LAST.set(Some(describe(info)));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs user code; a panic in it becomes its message and place.
///
/// What the code shares with others is held by locks and atomics that are whole
/// at every point, or belongs to the attempt and is thrown away with it.
pub(super) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    IN_ATTEMPT.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    IN_ATTEMPT.set(false);
    result.map_err(|_| {
        LAST.take()
            .unwrap_or_else(|| "a panic without a message".to_owned())
    })
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    match info.location() {
        Some(place) => format!("{message} (at {place})"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_of_an_attempt_is_told_with_its_message_and_place() {
        install_hook();
        let caught = caught(|| {
            let number = 7;
            assert!(number > 7, "number {number} is too small");
        });
        let message = caught.unwrap_err();
        assert!(
            message.starts_with("number 7 is too small (at "),
            "{message}"
        );
        assert!(message.contains("panics.rs"), "{message}");
    }
}
