// What the tests of this module share.

import Glibc
import Postgres
import Synchronization
import Telemetry
import TestSupport

/// A connection for a test; `configure` changes the defaults.
func connect(
    _ uri: String? = nil, _ configure: (inout PostgresConfiguration) -> Void = { _ in }, log: @escaping LogHandler = { _, _ in }
) async throws -> PostgresConnection {
    let place: String
    if let uri { place = uri } else { place = try await TestPostgres.uri() }
    var configuration = PostgresConfiguration(uri: place)
    configure(&configuration)
    return try await PostgresConnection.connect(configuration, log: log)
}

/// The error that `body` throws; `nil`: none, or another type.
func postgresError<R>(during body: () async throws -> R) async -> PostgresError? {
    do {
        _ = try await body()
        return nil
    } catch {
        return error as? PostgresError
    }
}

/// The error that `body` throws; `nil`: none, or another type.
func postgresError<R>(of body: () throws -> R) -> PostgresError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error as? PostgresError
    }
}

/// Waits until another session waits for a lock, by asking the server, at most ten seconds.
func waitUntilBlocked(_ pid: Int32, seenBy observer: PostgresConnection) async throws -> Bool {
    try await observer.perform { session in
        for _ in 0..<1000 {
            let waiting = try session.execute("SELECT cardinality(pg_blocking_pids(\(pid)))").int32(0, 0)
            if waiting > 0 { return true }
            usleep(10_000)
        }
        return false
    }
}

/// Collects what a connection logs.
final class CapturedLog: Sendable {
    private let sentences = Mutex<[(LogLevel, String)]>([])
    var log: LogHandler { { level, text in self.sentences.withLock { $0.append((level, text)) } } }
    var all: [(LogLevel, String)] { sentences.withLock { $0 } }
}

/// A loopback port that accepts connections in the kernel and never answers.
struct BlackHole: ~Copyable {
    private let listener: Int32
    let port: UInt16

    init() {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                precondition(bind(listener, $0, length) == 0 && listen(listener, 8) == 0, "no loopback port to listen on")
                getsockname(listener, $0, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(listener) }
}
