//! As much of Markdown as a description needs: headings, paragraphs, lists, quotes, code, emphasis, links.
//!
//! HTML in it is text like any other, and links lead to web pages only.

use std::mem;

use super::page::escape;

/// Emphasis within emphasis; what is deeper is shown as written.
const DEPTH_MAX: u8 = 4;

pub(super) fn to_html(text: &str) -> String {
    let mut page = Blocks::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if let Some(fence) = ["```", "~~~"].into_iter().find(|f| trimmed.starts_with(f)) {
            page.end();
            page.out.push_str("<pre>\n");
            for line in lines
                .by_ref()
                .take_while(|line| !line.trim().starts_with(fence))
            {
                page.out.push_str(&escape(line));
                page.out.push('\n');
            }
            page.out.push_str("</pre>\n");
        } else {
            page.line(trimmed);
        }
    }
    page.end();
    page.out
}

/// What a line belongs to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Block {
    #[default]
    None,
    Paragraph,
    Quote,
    Bullets,
    Numbers,
}

#[derive(Debug, Default)]
struct Blocks {
    out: String,
    block: Block,
    /// Of the paragraph, quote or point that is being read.
    text: String,
}

impl Blocks {
    fn line(&mut self, line: &str) {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if line.is_empty() {
            self.end();
        } else if (1..=6).contains(&level)
            && let Some(title) = line.get(level..).and_then(|rest| rest.strip_prefix(' '))
        {
            self.end();
            let title = inline(title.trim_matches([' ', '#']), 0);
            self.out
                .push_str(&format!("<h{level}>{title}</h{level}>\n"));
        } else if let Some(point) = ["- ", "* ", "+ "].iter().find_map(|m| line.strip_prefix(m)) {
            self.point(Block::Bullets, point);
        } else if let Some(point) = numbered(line) {
            self.point(Block::Numbers, point);
        } else if let Some(quoted) = line.strip_prefix('>') {
            self.go_on(Block::Quote, quoted.trim_start());
        } else {
            let block = match self.block {
                Block::None => Block::Paragraph,
                // A point, too, may have more than one line.
                block => block,
            };
            self.go_on(block, line);
        }
    }

    fn point(&mut self, block: Block, text: &str) {
        if self.block == block {
            self.end_text();
        }
        self.go_on(block, text);
    }

    fn go_on(&mut self, block: Block, text: &str) {
        if self.block != block {
            self.end();
            self.out.push_str(block.tags().0);
            self.block = block;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }

    fn end_text(&mut self) {
        let text = inline(&mem::take(&mut self.text), 0);
        match self.block {
            Block::Bullets | Block::Numbers => {
                self.out.push_str(&format!("<li>{text}</li>\n"));
            }
            Block::None | Block::Paragraph | Block::Quote => self.out.push_str(&text),
        }
    }

    fn end(&mut self) {
        if self.block != Block::None {
            self.end_text();
            let block = mem::take(&mut self.block);
            self.out.push_str(block.tags().1);
        }
    }
}

impl Block {
    fn tags(self) -> (&'static str, &'static str) {
        match self {
            Block::None => ("", ""),
            Block::Paragraph => ("<p>", "</p>\n"),
            Block::Quote => ("<blockquote>", "</blockquote>\n"),
            Block::Bullets => ("<ul>\n", "</ul>\n"),
            Block::Numbers => ("<ol>\n", "</ol>\n"),
        }
    }
}

fn numbered(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(". ")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(rest)
}

fn inline(text: &str, depth: u8) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let marked = match char {
            '\\' => escaped(rest),
            '`' => between(rest, "`").map(|(code, rest)| (tag("code", &escape(code)), rest)),
            '[' => link(rest, depth),
            '*' | '_' => emphasis(rest, depth),
            _ => None,
        };
        match marked {
            Some((html, after)) => {
                out.push_str(&html);
                rest = after;
            }
            None => {
                let (one, after) = rest.split_at(char.len_utf8());
                out.push_str(&escape(one));
                rest = after;
            }
        }
    }
    out
}

fn tag(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// What stands between two marks, and what follows.
fn between<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let (inner, rest) = text.strip_prefix(mark)?.split_once(mark)?;
    (!inner.is_empty()).then_some((inner, rest))
}

fn escaped(text: &str) -> Option<(String, &str)> {
    let next = text.chars().nth(1).filter(char::is_ascii_punctuation)?;
    Some((escape(&next.to_string()), text.get(2..)?))
}

fn emphasis(text: &str, depth: u8) -> Option<(String, &str)> {
    if depth == DEPTH_MAX {
        return None;
    }
    let marks = [("**", "strong"), ("__", "strong"), ("*", "em"), ("_", "em")];
    marks.into_iter().find_map(|(mark, name)| {
        let (inner, rest) = between(text, mark)?;
        // Marks that stand apart are signs: `2 * 3 * 4`.
        let tight = !inner.starts_with(' ') && !inner.ends_with(' ');
        tight.then(|| (tag(name, &inline(inner, depth + 1)), rest))
    })
}

fn link(text: &str, depth: u8) -> Option<(String, &str)> {
    let (words, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (to, rest) = rest.split_once(')')?;
    let is_page = to.starts_with("https://") || to.starts_with("http://");
    if !is_page || depth == DEPTH_MAX {
        return None;
    }
    let words = inline(words, DEPTH_MAX);
    Some((format!("<a href=\"{}\">{words}</a>", escape(to)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_elements() {
        let text = "# A *title* #\nsome\ntext\n\n- one\n- two\n  goes on\n1. first\n2. second\n> said\n\
                    ```sh\na <b> & `c`\n\n# no title\n```\n##no\n";
        let expected = "<h1>A <em>title</em></h1>\n<p>some\ntext</p>\n<ul>\n<li>one</li>\n\
                        <li>two\ngoes on</li>\n</ul>\n<ol>\n<li>first</li>\n<li>second</li>\n</ol>\n\
                        <blockquote>said</blockquote>\n<pre>\na &lt;b&gt; &amp; `c`\n\n# no title\n</pre>\n\
                        <p>##no</p>\n";
        assert_eq!(to_html(text), expected);
        assert_eq!(to_html("```\nno end"), "<pre>\nno end\n</pre>\n");
    }

    #[test]
    fn marks_within_a_line() {
        for (text, expected) in [
            (
                "**a _b_** `*c*`",
                "<strong>a <em>b</em></strong> <code>*c*</code>",
            ),
            ("2 * 3 * 4, a*", "2 * 3 * 4, a*"),
            (r"\*a\* \x", r"*a* \x"),
            (
                "[x](https://y/?a&b)",
                "<a href=\"https://y/?a&amp;b\">x</a>",
            ),
            ("[x](javascript:y)", "[x](javascript:y)"),
            (
                "[x](https://\"onclick=\"y)",
                "<a href=\"https://&quot;onclick=&quot;y\">x</a>",
            ),
            ("<script>ä</script>", "&lt;script&gt;ä&lt;/script&gt;"),
        ] {
            assert_eq!(to_html(text), format!("<p>{expected}</p>\n"), "{text}");
        }
        let deep = "*_".repeat(5000);
        assert!(to_html(&deep).len() >= deep.len());
    }
}
