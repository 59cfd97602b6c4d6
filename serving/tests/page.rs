//! The page for people, in a real browser that reaches nothing but the server.

mod support;

use collector::testing::program;
use std::process::Command;
use support::{Root, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_whole_without_any_other_host() {
    let Some(browser) = program("chromium").expect("chromium") else { return };
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &["--models", "load-predictor"]).await;
    server.ready().await;
    let profile = tempfile::tempdir().expect("temporary folder");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--window-size=1200,900",
        ])
        // Any other host is one that there is not.
        .args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--dump-dom", &format!("{}/docs", server.url)])
        .output()
        .expect("a browser");
    let (page, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    // What a page asks for in vain, and what its scripts complain of, the browser tells in lines with this word.
    let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    assert!(page.contains("<h1>Berth serving</h1>"), "{page}");
    let described = server.get("/openapi.json").await;
    for path in described["paths"].as_object().expect("paths").keys() {
        assert!(page.contains(path.as_str()), "{path} is not on the page");
    }
    for from_elsewhere in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!page.contains(from_elsewhere), "the page asks another host: {from_elsewhere}");
    }
}
