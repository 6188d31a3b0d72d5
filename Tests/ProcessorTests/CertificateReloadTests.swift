// Proves that a renewed certificate is used without a restart, and that a certificate without its key changes nothing.

import Foundation
import Glibc
import HTTPServer
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import sluice

/// Keeps log lines.
private final class Lines: LogSink {
    private let kept = Mutex<[String]>([])
    func write(_ line: [UInt8]) { kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
    func said(_ parts: String...) -> Bool {
        kept.withLock { $0.contains { line in parts.allSatisfy { line.contains($0) } } }
    }
}

private func run(_ program: String, _ arguments: [String], log: String) async throws -> Int32 {
    let child = try ChildProcess.start(
        "/usr/bin/env", [program] + arguments, environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"], log: log)
    guard case .exited(let code) = try await child.ended(within: .seconds(60)) else { return -1 }
    return code
}

private var hasPrograms: Bool {
    get async {
        let openssl = try? await run("openssl", ["version"], log: "/dev/null")
        let curl = try? await run("curl", ["--version"], log: "/dev/null")
        return openssl == 0 && curl == 0
    }
}

/// Answers every request.
private final class Greeting: HTTPHandler {
    let routes = HTTPRoutes([HTTPRoute(.get, "/")])
    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) { exchange.respond(.text(200, "here")) }
}

@Suite struct CertificateReloadTests {
    /// A self-signed pair.
    private func make(_ directory: String, _ name: String) async throws {
        let code = try await run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj",
                "/CN=\(name)", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "\(directory)/\(name).key", "-out",
                "\(directory)/\(name).pem",
            ], log: "\(directory)/log")
        try #require(code == 0)
    }

    @Test(.enabled("needs openssl and curl") { await hasPrograms })
    func anExpiredCertificateIsNamed() async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var local = HTTPSettings()
        local.port = 0
        let lines = Lines()
        try await make(directory, "tls")
        let identity = try TLSIdentity(certificate: "\(directory)/tls.pem", key: "\(directory)/tls.key")
        for later in [-1, 3_600] as [Int64] {
            let server = try HTTPServer.start(configuration: local.server(identity: identity), handler: Greeting())
            _ = HTTPServerReloader(
                server, http: local, identity: identity, authorizer: RequestAuthorizer(local),
                logger: Logger(label: "test", sink: lines), clock: { identity.expires + later })
            #expect(lines.said("The TLS certificate has expired", "1 hours ago") == (later > 0))
            await server.stop(deadline: .zero)
        }
    }

    @Test(.enabled("needs openssl and curl") { await hasPrograms })
    func aRenewedCertificateIsUsedAndOneWithoutItsKeyIsRefused() async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        for name in ["first", "next"] { try await make(directory, name) }
        for suffix in ["pem", "key"] {
            try FileManager.default.copyItem(atPath: "\(directory)/first.\(suffix)", toPath: "\(directory)/tls.\(suffix)")
        }
        let mapping = TestPostgres.checkout.path + "/examples/messages/mapping.yaml"
        let file = directory + "/sluice.yaml"
        try "mappings: [\(mapping)]\nhttp: {tls_certificate: tls.pem, tls_key: tls.key}\n"
            .write(toFile: file, atomically: true, encoding: .utf8)
        let configuration = try Configuration.load(path: file, environment: [:])
        let identity = try #require(configuration.identity)
        var local = configuration.settings.http
        local.port = 0
        let server = try HTTPServer.start(configuration: local.server(identity: identity), handler: Greeting())
        let serverReloader = HTTPServerReloader(
            server, http: local, identity: identity, authorizer: RequestAuthorizer(local), logger: .silent)
        let registry = MetricsRegistry()
        serverReloader.register(registry)
        /// Curl trusts this certificate and no other.
        func isShown(_ name: String) async throws -> Bool {
            let code = try await run(
                "curl", ["-sS", "--max-time", "20", "--cacert", "\(directory)/\(name).pem", "https://127.0.0.1:\(server.port)/"],
                log: "\(directory)/curl")
            try #require(code == 0 || code == 60, "curl: \(code)")
            return code == 0
        }
        let shown = Shared<Int>(0)
        let lines = Lines()
        let reloader = Reloader(
            configuration, registry: MetricsRegistry(), logger: Logger(label: "test", sink: lines), apply: { _ in },
            applyCertificate: {
                serverReloader.update($0)
                shown.withLock { $0 += 1 }
            })
        func renew(_ suffix: String) throws {
            let data = try Data(contentsOf: URL(fileURLWithPath: "\(directory)/next.\(suffix)"))
            try data.write(to: URL(fileURLWithPath: "\(directory)/tls.\(suffix)"))
        }
        func settle() async {
            for _ in 0..<2 { await reloader.check(isRequested: false) }
        }
        await settle()
        #expect(shown.current == 0)
        #expect(try await isShown("first"))
        #expect(try await !isShown("next"))
        let page = String(decoding: registry.render(), as: UTF8.self)
        #expect(page.contains("sluice_http_certificate_expiry_timestamp_seconds \(identity.expires)\n"))
        try renew("pem")
        await settle()
        #expect(shown.current == 0)
        #expect(lines.said("Changed configuration refused", "is not the one of the certificate"))
        #expect(try await isShown("first"))
        try renew("key")
        await settle()
        #expect(shown.current == 1)
        #expect(try await isShown("next"))
        #expect(try await !isShown("first"))
        #expect(lines.said("TLS certificate reloaded.", "expires="))
        #expect(lines.said("Configuration reloaded.", "generation=2"))
        // Other files need a restart; a change of their content has no effect.
        try "mappings: [\(mapping)]\nhttp: {tls_certificate: next.pem, tls_key: next.key}\n"
            .write(toFile: file, atomically: true, encoding: .utf8)
        await settle()
        #expect(shown.current == 1)
        #expect(lines.said("takes effect at the next restart. key=http.tls_certificate"))
        // A named pipe is neither read again nor waited for.
        try FileManager.default.removeItem(atPath: "\(directory)/next.key")
        try #require(mkfifo("\(directory)/next.key", 0o600) == 0)
        await reloader.check(isRequested: true)
        #expect(lines.said("which can be read only once"))
        await server.stop(deadline: .zero)
    }
}
