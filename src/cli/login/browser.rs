//! The person's browser: whether there is one, and opening it.
//!
//! In: environment variables, an address. Out: yes or no. Knows nothing of OpenID.

use openidconnect::url::Url;
use webbrowser::{Browser, BrowserOptions};

/// Whether this session can show a browser. On Linux a program may be installed where nobody
/// could see it, so a display or a browser by name is asked for; elsewhere a desktop is assumed.
pub(super) fn is_likely(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    SIGNS.iter().any(|name| variable(name).is_some_and(|value| !value.is_empty()))
}

/// Opens `url`. `false` where no program took it.
pub(super) async fn open(url: &Url) -> bool {
    let text = url.to_string();
    // Standard output is for the certificate: what a browser prints is dropped.
    let mut options = BrowserOptions::new();
    options.with_suppress_output(true);
    let opening = tokio::task::spawn_blocking(move || {
        webbrowser::open_browser_with_options(Browser::Default, &text, &options).is_ok()
    });
    // A text browser runs until the person ends it, which is after its answer has come.
    match tokio::time::timeout(std::time::Duration::from_secs(5), opening).await {
        Ok(opened) => opened.unwrap_or(false),
        Err(_) => true,
    }
}

const SIGNS: [&str; 4] = ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_session_without_a_display_has_no_browser() {
        assert!(!is_likely(&|_| None));
        assert!(!is_likely(&|name| (name == "DISPLAY").then(String::new)));
        for sign in SIGNS {
            assert!(is_likely(&|name| (name == sign).then(|| ":0".to_owned())), "{sign}");
        }
    }
}
