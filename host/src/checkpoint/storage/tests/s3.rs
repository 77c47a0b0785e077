//! An S3 server on this machine, when asked for with `WASMILL_TEST_S3=1`: moto, from PyPI, in a virtual environment below `target`.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::*;

/// A server that is killed when the test ends, well or not.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Installs the server, once.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/s3-server");
    let (server, marker) = (folder.join("bin/moto_server"), folder.join("installed"));
    if !marker.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "moto[server]"]));
        fs::write(marker, b"").expect("the folder is ours");
    }
    server
}

fn start() -> Server {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut command = Command::new(installed());
    let command =
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server { child: command.spawn().expect("it is installed"), port };
    for _ in 0..300 {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            // A bucket is made by a request that needs no signature here.
            let request = "PUT /bucket HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).expect("it listens");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            return server;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the S3 server does not listen within 30 s");
}

fn open(port: u16, url: &str, secret: &str) -> ObjectStorage {
    let environment = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT", &format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_NO_SUCH_SETTING", "ignored"),
        ("HOME", "ignored"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let location = StorageLocation::parse(url, Path::new("/")).expect("a URL");
    ObjectStorage::open(&location, environment).expect("the settings are good")
}

#[test]
fn an_s3_server_conforms() {
    if std::env::var("WASMILL_TEST_S3").as_deref() != Ok("1") {
        println!("skipped: it installs a server from PyPI; set WASMILL_TEST_S3=1 to run it");
        return;
    }
    let server = start();
    conformance::check(&open(server.port, "s3://bucket/some/folder", "test"));
    conformance::check(&open(server.port, "s3://bucket", "test"));
    let nowhere = open(server.port, "s3://no-such-bucket/folder", "test");
    let error = nowhere.put_new("a", Bytes::from_static(b"1")).expect_err("there is no such bucket");
    assert_eq!(error.kind, StorageErrorKind::Invalid, "{error}");
    assert_eq!(error.location, "s3://no-such-bucket/folder/a");
    let port = server.port;
    drop(server);
    let error = open(port, "s3://bucket", "test").get("a").expect_err("nobody listens");
    assert!(error.kind.is_retryable(), "{error}");
}
