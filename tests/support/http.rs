//! A plain HTTP client for tests without an executor of their own.
use std::{sync::LazyLock, time::Duration};

use serde_json::Value;
use tokio::runtime::Runtime;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `None` where nothing answered.
pub(crate) fn get(url: &str) -> Option<Answer> {
    RUNTIME.block_on(answer(client().get(url))).ok()
}

/// Posts JSON; the test fails where nothing answers.
#[track_caller]
pub(crate) fn post(url: &str, body: &Value) -> Answer {
    RUNTIME.block_on(post_with(&client(), url, body)).unwrap()
}

/// As [`post`], for a client and an executor of the caller's.
pub(crate) async fn post_with(
    client: &reqwest::Client,
    url: &str,
    body: &Value,
) -> Result<Answer, reqwest::Error> {
    answer(client.post(url).header("content-type", "application/json").body(body.to_string())).await
}

/// A client that goes straight to the loopback servers of the tests.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap()
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    Ok(Answer { status: response.status().as_u16(), text: response.text().await? })
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
const TIMEOUT: Duration = Duration::from_secs(30);
