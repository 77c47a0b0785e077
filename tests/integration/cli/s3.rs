//! A whole job with its checkpoints in S3: in a server on this machine, when asked for with `WASMILL_TEST_S3=1`. It is moto, from PyPI, in a virtual environment below `target`.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::sums::Sums;
use crate::harness::root;

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
    let folder = root().join("target/s3-server");
    let (server, marker) = (folder.join("bin/moto_server"), folder.join("installed"));
    if !marker.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "moto[server]"]));
        fs::write(marker, b"").expect("the folder is ours");
    }
    server
}

/// Starts the server, with a bucket named `bucket`.
fn start() -> Server {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut command = Command::new(installed());
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

#[test]
fn a_job_whose_checkpoints_are_in_s3_is_killed_and_goes_on() {
    if std::env::var("WASMILL_TEST_S3").as_deref() != Ok("1") {
        println!("skipped: it installs a server from PyPI; set WASMILL_TEST_S3=1 to run it");
        return;
    }
    let server = start();
    let environment = vec![
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", server.port)),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
    ];
    let job = Sums::new().with_environment(environment);
    job.edit("\"storage\"", "\"s3://bucket/some/folder\"");
    for checkpoint in [2, 4] {
        let running = job.start(&["--set", &format!("parallelism={}", checkpoint / 2)]);
        job.wait_for_results_of(checkpoint);
        running.kill();
    }
    let said = job.run(&[]);
    said.expect(0);
    assert!(said.err.contains("(s3://bucket/some/folder/sums/checkpoints/"), "{}", said.err);
    job.check();
    job.run(&[]).expect(0);
}
