//! One question to a registry, through its challenges and redirects, to the final answer.
//!
//! Redirects are followed here and not by the HTTP stack, because an authorization must be decided anew for
//! each hop: it goes to the host that the reference names, and to nobody else.

use std::{ops::Range, sync::Arc};

use reqwest::{
    Method, Request, Url,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderValue, LOCATION, RANGE},
};

use crate::{
    auth::Authenticator,
    error::{ErrorKind, Operation, RegistryError},
    hosts::Target,
    transport::{Response, Transport},
};

/// Registry, region, storage, and two to spare.
const MAX_REDIRECTS: u32 = 5;
/// 401s in one exchange: to an anonymous request, to a token that ran out, and to a password that was replaced.
const MAX_CHALLENGES: u32 = 3;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) range: Option<Range<u64>>,
    pub(crate) accept: Option<&'static str>,
}

/// The final answer, and where it came from.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Where redirects led, if there were any. To be kept secret: it may be signed.
    pub(crate) redirected_to: Option<Url>,
}

/// Asks registries and whom they redirect to.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) transport: Arc<Transport>,
    pub(crate) auth: Authenticator,
}

impl Exchange {
    /// Asks `start`, a URL of `target` or one that it redirected to before. Errors are answers that did not
    /// come; an answer of any status other than a redirect or an answerable 401 is given back.
    pub(crate) async fn ask(
        &self,
        target: &Target,
        start: Url,
        question: &Question,
    ) -> Result<Answer, RegistryError> {
        let mut url = start.clone();
        let (mut redirects, mut challenges) = (0, 0);
        // Made for a 401 of this exchange, to be sent with the next request.
        let mut renewed = None;
        loop {
            let context = target.context_at(question.operation, &url);
            let owned = target.owns(&url);
            let authorization = match renewed.take() {
                _ if !owned => None,
                Some(authorization) => Some(authorization),
                None => self.auth.authorization(target).await?,
            };
            let mut request = Request::new(question.method.clone(), url.clone());
            fill(&mut request, question);
            if let Some(authorization) = &authorization {
                request.headers_mut().insert(AUTHORIZATION, authorization.header.clone());
            }
            let response = self.transport.send(request, &context).await?;
            match response.status().as_u16() {
                401 if owned && challenges < MAX_CHALLENGES => {
                    challenges += 1;
                    renewed = Some(self.auth.challenged(target, response, authorization.as_ref()).await?);
                }
                301 | 302 | 303 | 307 | 308 => {
                    redirects += 1;
                    if redirects > MAX_REDIRECTS {
                        return Err(response.error(ErrorKind::Protocol, "too many redirects"));
                    }
                    url = location(&response, &url)?;
                    self.transport.counters.redirects.add(1);
                    response.drain().await;
                }
                _ => {
                    let redirected_to = (url != start).then_some(url);
                    return Ok(Answer { response, redirected_to });
                }
            }
        }
    }
}

fn fill(request: &mut Request, question: &Question) {
    let headers = request.headers_mut();
    // Ranges are ranges of the stored bytes; a helpful proxy must not compress them.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(accept) = question.accept {
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
    }
    if let Some(Range { start, end }) = question.range
        && let Some(last) = end.checked_sub(1)
        && let Ok(range) = HeaderValue::from_str(&format!("bytes={start}-{last}"))
    {
        headers.insert(RANGE, range);
    }
}

fn location(response: &Response, from: &Url) -> Result<Url, RegistryError> {
    let unusable = |why| response.error(ErrorKind::Protocol, why);
    let location = response.header(LOCATION).ok_or_else(|| unusable("a redirect without a Location"))?;
    match from.join(location) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        // The location is not shown, it may be signed.
        _ => Err(unusable("a redirect to something that is no HTTP URL")),
    }
}
