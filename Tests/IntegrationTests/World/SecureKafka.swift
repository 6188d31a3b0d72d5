// Owns the broker for tests of TLS, SASL and ACLs, and the certificates of its clients.

import Foundation
import TestSupport
import Testing

/// A broker with one listener for each way to connect. User `app` has the password `secret`; ANONYMOUS, the user of the listeners
/// without authentication, may do everything.
struct SecureKafka: Sendable {
    /// The listeners beside the plain one.
    enum Listener: CaseIterable {
        case tls
        /// It asks for a client certificate.
        case mtls
        case sasl
        case saslTLS
        /// It takes tokens without a signature, and closes connections whose token has expired.
        case oauth

        var name: String { "\(self)".uppercased() }

        var securityProtocol: String {
            switch self {
            case .tls, .mtls: "SSL"
            case .sasl, .oauth: "SASL_PLAINTEXT"
            case .saslTLS: "SASL_SSL"
            }
        }
    }

    let server: KafkaServer
    /// Certificates and programs.
    let directory: URL

    /// The broker of this test process. It is started by the first test that needs it.
    static let shared = Result { try SecureKafka() }

    private init() throws {
        directory = TestPostgres.checkout.appendingPathComponent(".sluice/e2e-secure-\(getpid())")
        ChildProcess.removeAtEnd(directory.path)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let login = "org.apache.kafka.common.security"
        let users = #"\#(login).plain.PlainLoginModule required user_app="secret";"#
        let settings = [
            "ssl.keystore.type=PEM", "ssl.keystore.location=\(directory.path)/broker.store.pem",
            "ssl.truststore.type=PEM", "ssl.truststore.location=\(directory.path)/ca.pem",
            "listener.name.mtls.ssl.client.auth=required",
            "sasl.enabled.mechanisms=PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config=\(users)", "listener.name.sasltls.plain.sasl.jaas.config=\(users)",
            "listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER",
            #"listener.name.oauth.oauthbearer.sasl.jaas.config=\#(login).oauthbearer.OAuthBearerLoginModule required "#
                + #"unsecuredLoginStringClaim_sub="broker";"#,
            "listener.name.oauth.oauthbearer.connections.max.reauth.ms=60000",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found=true", "super.users=User:ANONYMOUS",
        ]
        server = KafkaServer(
            "secure-kafka", settings: settings, listeners: Listener.allCases.map { "\($0.name):\($0.securityProtocol)" })
    }

    /// Makes the authorities and the broker's certificate, where there are none yet.
    func prepare() async throws {
        guard !FileManager.default.fileExists(atPath: path("broker.store.pem")) else { return }
        try """
        [ca]
        default_ca = signer
        [signer]
        database = index.txt
        new_certs_dir = .
        rand_serial = yes
        unique_subject = no
        default_md = sha256
        default_days = 2
        policy = names
        x509_extensions = server
        [names]
        commonName = supplied
        [server]
        subjectAltName = IP:127.0.0.1

        """.write(toFile: path("ca.conf"), atomically: true, encoding: .utf8)
        try await openssl("touch index.txt")
        for name in ["ca", "stranger"] {
            try await openssl(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=\(name) "
                    + "-keyout \(name).key -out \(name).pem")
        }
        try await certificate("broker")
        try await openssl("cat broker.key broker.crt > broker.store.pem.new && mv broker.store.pem.new broker.store.pem")
    }

    /// Makes a key and a certificate, `NAME.key` and `NAME.crt`, which replace former ones at once.
    /// - Parameter end: when it expires; `nil`: in two days.
    func certificate(_ name: String, until end: Date? = nil) async throws {
        var date = ""
        if let end {
            let format = DateFormatter()
            format.dateFormat = "yyyyMMddHHmmss'Z'"
            format.timeZone = TimeZone(identifier: "UTC")
            // A certificate that has expired was valid once.
            date = "-startdate 20200101000000Z -enddate \(format.string(from: end))"
        }
        try await openssl(
            """
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=\(name) -keyout new.key -out new.csr
            openssl ca -batch -notext -config ca.conf -cert ca.pem -keyfile ca.key -in new.csr -out new.crt \(date)
            mv new.key \(name).key
            mv new.crt \(name).crt
            """)
    }

    private func openssl(_ script: String) async throws {
        let child = try ChildProcess.start(
            "/bin/sh", ["-ec", "cd \(directory.path)\n\(script)"], environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"],
            log: path("openssl.log"))
        let ending = try await child.ended(within: .seconds(60))
        guard ending == .exited(0) else { throw Trouble("openssl ended with \(ending): \(child.output.suffix(2000))") }
    }

    /// A file in the directory.
    func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    // MARK: Clients

    /// `kafka.properties` of a client that is let in by a listener.
    /// - Parameter certificate: the name of the client's certificate.
    func properties(_ listener: Listener, certificate: String = "app") -> [String: String] {
        var properties = ["security.protocol": listener.securityProtocol]
        if listener.securityProtocol.hasSuffix("SSL") { properties["ssl.ca.location"] = path("ca.pem") }
        switch listener {
        case .tls: break
        case .mtls:
            properties["ssl.certificate.location"] = path("\(certificate).crt")
            properties["ssl.key.location"] = path("\(certificate).key")
        case .sasl, .saslTLS:
            properties.merge(["sasl.mechanism": "PLAIN", "sasl.username": "app", "sasl.password": "secret"]) { $1 }
        case .oauth: properties["sasl.mechanism"] = "OAUTHBEARER"
        }
        return properties
    }

    /// The variables that make a process a client of a listener, in a group of its own.
    /// - Parameter listener: `nil`: the plain one.
    func environment(_ listener: Listener?, group: String, _ properties: [String: String]) throws -> [String: String] {
        [
            "SLUICE_KAFKA_BOOTSTRAP_SERVERS": try listener.map { try server.address(of: $0.name) } ?? server.bootstrapServers,
            "SLUICE_KAFKA_GROUP_ID": group,
            "SLUICE_KAFKA_PROPERTIES": properties.map { "\($0)=\($1)\n" }.joined(),
        ]
    }
}
