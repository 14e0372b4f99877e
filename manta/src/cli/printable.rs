//! What somebody else wrote, for a terminal.

/// Names and commands are anybody's: what would steer a terminal is shown instead of sent.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out
}
