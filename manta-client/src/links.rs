//! A second name for an object, and another name for it.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method};

use crate::body::Payload;
use crate::client::{Client, Stored, accept, replace};
use crate::error::Error;

const LINK_TYPE: &str = "application/json; type=link";
const RENAME_TYPE: &str = "application/json; type=rename";

impl Client {
    /// Makes `target` a link: another name for the object at `source`, in an instant and whatever its
    /// size. Conditions among the headers are about the source; `role-tag` is the link's own.
    ///
    /// Errors: `SnaplinksDisabledError` where the server or an account has no links,
    /// `SourceObjectNotFound`, `LinkNotObject` for a directory.
    pub async fn link(
        &self,
        source: &str,
        target: &str,
        headers: HeaderMap,
    ) -> Result<Stored, Error> {
        self.put_name(LINK_TYPE, source, target, headers).await
    }

    /// Gives the object at `source` the name `target`: one instant before which there is only the one,
    /// and after which there is only the other. Replaces what is at `target`, unless conditions among
    /// the headers say otherwise.
    pub async fn rename(
        &self,
        source: &str,
        target: &str,
        headers: HeaderMap,
    ) -> Result<Stored, Error> {
        self.put_name(RENAME_TYPE, source, target, headers).await
    }

    async fn put_name(
        &self,
        content_type: &'static str,
        source: &str,
        target: &str,
        headers: HeaderMap,
    ) -> Result<Stored, Error> {
        let source = self.target(source)?;
        let target = self.target(target)?;
        let mut all = accept("application/json");
        all.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let location = HeaderValue::from_str(&source).map_err(http::Error::from)?;
        all.insert(LOCATION, location);
        replace(&mut all, headers);
        let response = self
            .request_ok(Method::PUT, &target, all, Payload::Empty)
            .await?;
        let (parts, body) = response.into_parts();
        body.drain().await?;
        Ok(Stored::of(parts.headers))
    }
}
