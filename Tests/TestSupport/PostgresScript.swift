// Runs scripts/private-postgres without blocking the threads that tests run on.

public import Foundation

/// `scripts/private-postgres` of the checkout.
public enum PostgresScript {
    /// Where it is.
    public static var url: URL { TestPostgres.checkout.appendingPathComponent("scripts/private-postgres") }

    /// Runs it with `arguments`; the outputs are trimmed.
    public static func run(_ arguments: [String]) async throws -> (status: Int32, output: String, errors: String) {
        let process = Process()
        process.executableURL = url
        process.arguments = arguments
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        let status: Int32 = try await withCheckedThrowingContinuation { continuation in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        // The script writes less than a pipe holds, so its end need not wait for a reader.
        func text(_ pipe: Pipe) -> String {
            String(decoding: pipe.fileHandleForReading.availableData, as: UTF8.self)
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }
        return (status, text(output), text(errors))
    }
}
