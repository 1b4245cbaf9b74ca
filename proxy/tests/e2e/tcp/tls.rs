//! TLS at both ends of a connection that is not HTTP.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::yaml;
use crate::support::pki::Pki;
use crate::support::{LONGEST, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_ends_here_and_begins_again_without_alpn() {
    let (front, back) = (Pki::new(&["front.test"]), Pki::new(&["back.test"]));
    let setup = Setup::new();
    front.write(&setup.dir, "front");
    back.write(&setup.dir, "back");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = yaml(
        listener.local_addr().unwrap(),
        "",
        "\x20 tls: { certificate: front.pem, key: front.key }\n",
        ", protocol: http2, tls: { server_name: back.test, ca: back-ca.pem }",
    );
    let proxy = setup.start(&text);
    // A client with a protocol of its own; an upstream that insists on nothing.
    for alpn in [&[][..], &["postgresql"]] {
        let acceptor = TlsAcceptor::from(back.server(&["something"]));
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), None);
            assert_eq!(stream.get_ref().1.server_name(), Some("back.test"));
            let mut read = String::new();
            stream.read_to_string(&mut read).await.unwrap();
            stream
                .write_all(read.to_uppercase().as_bytes())
                .await
                .unwrap();
            stream.shutdown().await.unwrap();
        };
        let asking = async {
            let stream = TcpStream::connect(proxy.web()).await.unwrap();
            let connector = TlsConnector::from(Arc::clone(&front.client(alpn)));
            let name = "front.test".try_into().unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), None);
            stream.write_all(b"half closed").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut read = String::new();
            stream.read_to_string(&mut read).await.unwrap();
            assert_eq!(read, "HALF CLOSED");
        };
        let both = async { tokio::join!(serving, asking) };
        tokio::time::timeout(LONGEST, both).await.expect("in time");
        proxy.stdout.wait_for("- 11 11 - - backend -");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_cannot_be_believed_gets_nothing() {
    let back = Pki::new(&["other.test"]);
    let setup = Setup::new();
    back.write(&setup.dir, "back");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = ", tls: { server_name: back.test, ca: back-ca.pem }";
    let address = listener.local_addr().unwrap();
    let proxy = setup.start(&yaml(address, "", "", cluster));
    let mut client = TcpStream::connect(proxy.web()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let accepted = TlsAcceptor::from(back.server(&[])).accept(stream).await;
    // In TLS 1.3 the server is done before the client has refused it.
    if let Ok(mut stream) = accepted {
        assert!(stream.read_u8().await.is_err());
    }
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    assert!(read.is_empty());
    proxy
        .stdout
        .wait_for("- 0 0 UF upstream_connection_failure backend -");
}
