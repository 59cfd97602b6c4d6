//! Text for terminals.

use std::borrow::Cow;

/// Text that a terminal shows and does not obey: names come from clusters, and a name may hold `ESC ]` or a character that turns the
/// direction of what follows. Each control character but the line feed and the tab is shown as U+FFFD.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|it| if is_control(it) { char::REPLACEMENT_CHARACTER } else { it }).collect()
}

/// C0, DEL and C1, and the bidirectional controls of Unicode.
fn is_control(it: char) -> bool {
    let turns = matches!(it, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || it.is_control() && !matches!(it, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        let names = ["web\u{1b}]0;owned\u{7}", "\u{9b}2J", "a\rb", "x\u{202e}y", "\u{7f}"];
        let shown = names.map(|name| printable(name).into_owned());
        assert_eq!(shown, ["web\u{fffd}]0;owned\u{fffd}", "\u{fffd}2J", "a\u{fffd}b", "x\u{fffd}y", "\u{fffd}"]);
        let text = "shop/cart-7d4b9\n- größer als 80 %\t✓\n";
        assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
    }
}
