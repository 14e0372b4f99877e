//! The parts that a client wants to commit, compared with those that are there. The texts of the refusals are
//! part of the API. Source: rest-api.md section 5.6.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libmanta::mako::Segment;
use libmanta::moray::{List, Moray, NamespaceError, Order};
use libmanta::{Entry, Object, ObjectKey};
use md5::{Digest as _, Md5};

use super::md5_chain::Link;
use super::part::part_number;
use super::records::PartsSummary;
use crate::errors::{Error, Result};

/// Entries looked at in one go. They are small: parts have hardly any headers.
const PAGE: usize = 1024;

/// A part as it is in the store.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) object: Object,
    pub(crate) link: Option<Link>,
}

pub(crate) fn summary(etags: &[String]) -> PartsSummary {
    let mut md5 = Md5::new();
    for etag in etags {
        md5.update(etag.as_bytes());
    }
    PartsSummary {
        md5: STANDARD.encode(md5.finalize()),
        count: etags.len(),
    }
}

/// The first `count` parts, by number; what is missing is `None`.
pub(crate) async fn read(
    moray: &dyn Moray,
    directory: &ObjectKey,
    count: usize,
) -> Result<Vec<Option<Part>>> {
    let mut parts: Vec<Option<Part>> = (0..count).map(|_| None).collect();
    if count == 0 {
        return Ok(parts);
    }
    let mut from = None;
    loop {
        let list = List {
            directory: directory.clone(),
            order: Order::Name {
                from: from.clone(),
                reverse: false,
            },
            limit: PAGE,
            only: None,
        };
        let page = match moray.list(&list).await {
            Ok(page) => page,
            Err(NamespaceError::Moray(error)) => return Err(error.into()),
            // Whoever looks finds that the upload is gone, too.
            Err(_) => break,
        };
        let last = page.entries.last().map(|entry| entry.key.name().to_owned());
        let full = page.entries.len() >= PAGE;
        for entry in page.entries {
            if let Some(number) = part_number(entry.key.name(), count) {
                parts[number] = part(entry);
            }
        }
        // The place to go on from comes a second time, which does no harm.
        if !full || last == from {
            break;
        }
        from = last;
    }
    Ok(parts)
}

fn part(entry: Entry) -> Option<Part> {
    let link = Link::of(&entry);
    let object = entry.object()?.clone();
    Some(Part { object, link })
}

/// All of them, if they are what the client says, large enough, and together as long as was announced.
pub(crate) fn check(
    upload: &str,
    etags: &[String],
    parts: Vec<Option<Part>>,
    part_bytes_min: u64,
    content_length: Option<u64>,
) -> Result<Vec<Part>> {
    let invalid = |reason: String| Error::MultipartInvalid {
        upload: upload.to_owned(),
        reason,
    };
    let mut checked = Vec::with_capacity(etags.len());
    let mut total_bytes: u64 = 0;
    for (at, (etag, part)) in etags.iter().zip(parts).enumerate() {
        let part = part
            .filter(|part| part.object.object_id.to_string() == *etag)
            .ok_or_else(|| invalid(format!("[part {at}] invalid etag \"{etag}\"")))?;
        let size = part.object.size_bytes;
        if size < part_bytes_min && at + 1 < etags.len() {
            return Err(invalid(format!(
                "[part {at}] part is too small (size {size})"
            )));
        }
        total_bytes = total_bytes.saturating_add(size);
        checked.push(part);
    }
    if let Some(expected) = content_length
        && expected != total_bytes
    {
        return Err(invalid(format!(
            "expected content-length {expected}, but object was {total_bytes}"
        )));
    }
    Ok(checked)
}

/// What the copies of the object are made of.
pub(crate) fn segments(parts: &[Part]) -> Vec<Segment> {
    let sized = parts.iter().filter(|part| part.object.size_bytes > 0);
    sized
        .map(|part| Segment {
            object_id: part.object.object_id,
            size_bytes: part.object.size_bytes,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use libmanta::{AccountId, ObjectId};

    use super::*;

    fn part(size_bytes: u64) -> Option<Part> {
        Some(Part {
            object: Object {
                object_id: ObjectId::random(),
                size_bytes,
                md5: [0; 16],
                content_type: String::new(),
                content_disposition: None,
                creator: AccountId::random(),
                copies: Vec::new(),
            },
            link: None,
        })
    }

    fn refusal(etags: &[String], parts: &[Option<Part>], length: Option<u64>) -> String {
        let error = check("u", etags, parts.to_vec(), 5, length).unwrap_err();
        error.answer().message.into_owned()
    }

    #[test]
    fn lists_are_refused_with_the_documented_texts() {
        let parts = vec![part(5), part(4), part(1)];
        let etags: Vec<String> = parts
            .iter()
            .flatten()
            .map(|part| part.object.object_id.to_string())
            .collect();
        assert_eq!(
            refusal(&etags, &parts, None),
            "upload u: [part 1] part is too small (size 4)"
        );
        assert_eq!(
            refusal(&etags[..2], &parts[..2], Some(10)),
            "upload u: expected content-length 10, but object was 9"
        );
        let swapped = [etags[1].clone(), etags[0].clone()];
        assert_eq!(
            refusal(&swapped, &parts[..2], None),
            format!("upload u: [part 0] invalid etag \"{}\"", etags[1])
        );
        assert_eq!(
            refusal(&["bogus".into()], &[None], None),
            "upload u: [part 0] invalid etag \"bogus\""
        );
        let good = check("u", &etags[..2], parts[..2].to_vec(), 5, Some(9)).unwrap();
        assert_eq!(segments(&good).len(), 2);
        assert!(check("u", &[], Vec::new(), 5, Some(0)).unwrap().is_empty());
    }

    #[test]
    fn the_summary_is_the_md5_of_the_etags_in_a_row() {
        assert_eq!(summary(&[]).md5, "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(
            summary(&["ab".into(), "c".into()]).md5,
            summary(&["a".into(), "bc".into()]).md5
        );
    }
}
