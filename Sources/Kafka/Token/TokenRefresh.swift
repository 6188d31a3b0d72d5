// Gives a client its OAUTHBEARER tokens, which a program prints.

internal import CKafka
internal import Glibc
internal import Platform
internal import Synchronization

/// Runs `kafka.token_command` whenever librdkafka asks for a token: at the start, when 80 % of a token's life have passed, and ten seconds
/// after a failure.
final class TokenRefresh: Sendable {
    /// How long the program may take.
    static let timeout = Duration.seconds(30)

    /// A client that has asked.
    private struct Asker: @unchecked Sendable {
        // Licence for @unchecked: as for ``Client``. It is used with `isClosed` locked, so not after it was destroyed.
        let pointer: OpaquePointer
    }

    private let program: SecretProgram
    private let timeout: Duration
    private let interrupt: EventDescriptor
    private let isClosed = Mutex(false)

    /// - Parameter command: the program and its arguments.
    init(_ command: [String], timeout: Duration = TokenRefresh.timeout) throws(KafkaError) {
        program = SecretProgram(command)
        self.timeout = timeout
        interrupt = try EventDescriptor()
    }

    /// librdkafka's callback, on its background thread: it must not block. librdkafka asks again only after an answer.
    func asked(by client: OpaquePointer) {
        let asker = Asker(pointer: client)
        do throws(KafkaError) {
            try OwnedThread.startForKafka("kafka-token") { self.answer(asker, self.token()) }
        } catch {
            answer(asker, .failure(error))
        }
    }

    /// Runs the program. Blocks.
    func token() -> Result<OAuthToken, KafkaError> {
        let name = "kafka.token_command \(program.name)"
        // The token may be as old as the run of the program is long.
        let now = WallClock.milliseconds()
        let output: String
        do throws(SecretProgram.Failure) {
            output = try program.output(
                deadline: MonotonicClock.nanoseconds() + timeout.nanoseconds, timeout: timeout, interrupt: interrupt.descriptor)
        } catch {
            return .failure(KafkaError(.authentication, "\(name) \(error)", isRetriable: true))
        }
        do throws(OAuthToken.Refusal) {
            return .success(try OAuthToken(output, now: now))
        } catch {
            return .failure(KafkaError(.authentication, "\(name) \(error.description)", isRetriable: true))
        }
    }

    private func answer(_ asker: Asker, _ answer: Result<OAuthToken, KafkaError>) {
        isClosed.withLock { isClosed in
            guard !isClosed else { return }
            let failure: String?
            switch answer {
            case .success(let token): failure = Self.set(token, on: asker.pointer)
            case .failure(let error): failure = error.message
            }
            // librdkafka reports a text that differs from the last one as an error of the client.
            if let failure { rd_kafka_oauthbearer_set_token_failure(asker.pointer, failure) }
        }
    }

    /// - Returns: why librdkafka refuses the token; `nil`: it has it.
    private static func set(_ token: OAuthToken, on client: OpaquePointer) -> String? {
        let copies = token.extensions.sorted { $0.key < $1.key }.flatMap { [strdup($0.key), strdup($0.value)] }
        defer { for copy in copies { free(copy) } }
        var extensions = copies.map { UnsafePointer($0) }
        var text = [CChar](repeating: 0, count: 512)
        let error = rd_kafka_oauthbearer_set_token(
            client, token.value, token.expires, token.principal, &extensions, extensions.count, &text, text.count)
        if error == RD_KAFKA_RESP_ERR_NO_ERROR { return nil }
        // librdkafka quotes the extension that it refuses.
        if !token.extensions.isEmpty {
            return
                "kafka.token_command has printed extensions that librdkafka refuses: names are letters, values visible characters"
        }
        return "librdkafka refuses the token of kafka.token_command: \(text.asString)"
    }

    /// The client is about to be destroyed: a program that runs is ended, and no token is set any more.
    func close() {
        interrupt.signal()
        isClosed.withLock { $0 = true }
    }
}
