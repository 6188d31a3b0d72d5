// TLS with curl: the handshake, a certificate that changes while the server runs, and files that do not match.

import Foundation
import HTTPServer
import TestSupport
import Testing

/// A folder with certificates made by openssl.
private final class Certificates: Sendable {
    let directory: String

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-tls-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        ChildProcess.removeAtEnd(directory)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// A self-signed certificate for 127.0.0.1: NAME.pem and NAME.key.
    func make(_ name: String, key: String = "ec") async throws {
        let kind = key == "ec" ? ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] : [key]
        let ending = try await run(
            "openssl",
            ["req", "-x509", "-newkey"] + kind + [
                "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                path("\(name).key"), "-out", path("\(name).pem"),
            ])
        try #require(ending.code == 0, "openssl: \(ending.output)")
    }

    func identity(_ certificate: String, _ key: String? = nil) throws(HTTPServerError) -> TLSIdentity {
        try TLSIdentity(certificate: path("\(certificate).pem"), key: path("\(key ?? certificate).key"))
    }

    /// Asks by curl, which trusts one certificate only; `nil` where it does not trust this one.
    func ask(_ route: String, port: UInt16, trusting name: String, _ more: [String] = []) async throws -> String? {
        let ending = try await run(
            "curl", ["-sS", "--max-time", "20", "--cacert", path("\(name).pem"), "https://127.0.0.1:\(port)\(route)"] + more)
        if ending.code == 60 { return nil }
        try #require(ending.code == 0, "curl: \(ending.output)")
        return ending.output
    }

    func run(_ program: String, _ arguments: [String]) async throws -> (code: Int32, output: String) {
        let log = path("log-\(UUID().uuidString)")
        let child = try ChildProcess.start(
            "/usr/bin/env", [program] + arguments, environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"], log: log)
        guard case .exited(let code) = try await child.ended(within: .seconds(60)) else { return (-1, child.output) }
        return (code, child.output)
    }

    /// The two programs that these tests need.
    static var areTestable: Bool {
        get async {
            guard let certificates = try? Certificates(),
                let openssl = try? await certificates.run("openssl", ["version"]).code,
                let curl = try? await certificates.run("curl", ["--version"]).code
            else { return false }
            return openssl == 0 && curl == 0
        }
    }
}

@Suite(.serialized, .enabled("needs openssl and curl") { await Certificates.areTestable })
struct TLSTests {
    @Test("requests, bodies and late responses over TLS", arguments: ["ec", "rsa:2048"])
    func serving(key: String) async throws {
        let certificates = try Certificates()
        try await certificates.make("a", key: key)
        var configuration = HTTPServerConfiguration(port: 0)
        configuration.identity = try certificates.identity("a")
        let server = try HTTPServer.start(configuration: configuration, handler: TestHandler())
        let port = server.port
        #expect(try await certificates.ask("/hello", port: port, trusting: "a") == "hello")
        let body = String(repeating: "0123456789abcdef", count: 20_000)
        let file = certificates.path("body")
        try body.write(toFile: file, atomically: true, encoding: .utf8)
        for route in ["/echo", "/later"] {
            #expect(try await certificates.ask(route, port: port, trusting: "a", ["--data-binary", "@\(file)"]) == body)
        }
        #expect(try await certificates.ask("/hello", port: port, trusting: "a", ["--tls-max", "1.2"]) == "hello")
        let old = try await certificates.run(
            "curl", ["-sS", "--cacert", certificates.path("a.pem"), "--tls-max", "1.1", "https://127.0.0.1:\(port)/hello"])
        #expect(old.code != 0, "TLS 1.1 is refused")
        // Plain HTTP is no handshake, and affects no other client.
        try await onThread {
            let plain = try Client(port: port)
            plain.request("GET", "/hello")
            #expect(throws: ClientError.self) { try plain.answer() }
        }
        #expect(try await certificates.ask("/hello", port: port, trusting: "a") == "hello")
        await server.stop(deadline: .seconds(5))
    }

    @Test("new connections get a renewed certificate, and open ones stay")
    func renewal() async throws {
        let certificates = try Certificates()
        try await certificates.make("a")
        try await certificates.make("b", key: "rsa:2048")
        var configuration = HTTPServerConfiguration(port: 0)
        configuration.identity = try certificates.identity("a")
        let handler = TestHandler()
        let server = try HTTPServer.start(configuration: configuration, handler: handler)
        let port = server.port
        async let held = certificates.ask("/hold", port: port, trusting: "a", ["-d", "x"])
        let exchange = try #require(try await onThread { try handler.held(1) }.first)
        #expect(try await certificates.ask("/hello", port: port, trusting: "b") == nil)
        configuration.identity = try certificates.identity("b")
        try server.update(configuration)
        #expect(
            await eventually(within: .seconds(20)) {
                (try? await certificates.ask("/hello", port: port, trusting: "b")) == "hello"
            })
        #expect(try await certificates.ask("/hello", port: port, trusting: "a") == nil)
        exchange.respond(.text(200, "of the old"))
        #expect(try await held == "of the old")
        await server.stop(deadline: .seconds(5))
    }

    @Test("an incomplete handshake is closed at the deadline of the header")
    func silentHandshake() async throws {
        let certificates = try Certificates()
        try await certificates.make("a")
        var configuration = HTTPServerConfiguration(port: 0)
        configuration.identity = try certificates.identity("a")
        configuration.headerTimeout = .seconds(1)
        let server = try HTTPServer.start(configuration: configuration, handler: TestHandler())
        let port = server.port
        try await onThread {
            let silent = try Client(port: port)
            // The beginning of a TLS record.
            silent.send([0x16, 0x03, 0x01, 0x02, 0x00])
            #expect(try silent.isClosedByServer())
        }
        try eventually("it is counted") { server.statistics.slowHeaders == 1 }
        await server.stop(deadline: .zero)
    }

    @Test("files that do not match are reported without their content")
    func faults() async throws {
        let certificates = try Certificates()
        try await certificates.make("a")
        try await certificates.make("b")
        func fault(_ certificate: String, _ key: String) -> String {
            do throws(HTTPServerError) {
                _ = try certificates.identity(certificate, key)
                return ""
            } catch {
                #expect(error.code == .invalidCertificate)
                return error.description
            }
        }
        #expect(fault("a", "a").isEmpty)
        #expect(fault("a", "b").contains("is not the one of the certificate"))
        #expect(fault("none", "a").contains("none.pem cannot be opened: No such file"))
        #expect(fault("a", "none").contains("none.key cannot be opened: No such file"))
        try "a word".write(toFile: certificates.path("c.pem"), atomically: true, encoding: .utf8)
        try "a word".write(toFile: certificates.path("c.key"), atomically: true, encoding: .utf8)
        #expect(fault("c", "a").contains("c.pem is not a certificate chain in PEM"))
        #expect(fault("a", "c").contains("c.key is not a private key in PEM"))
        #expect(!fault("a", "c").contains("a word"))
        try String(repeating: "x", count: 2 << 20).write(toFile: certificates.path("d.pem"), atomically: true, encoding: .utf8)
        #expect(fault("d", "a").contains("is larger than 1048576 bytes"))
        #expect(try certificates.identity("a").expires > 1_700_000_000)
    }
}
