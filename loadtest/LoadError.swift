// The error that ends a run without a result.

/// Why a run failed.
struct LoadError: Error, Sendable, CustomStringConvertible {
    /// What kind of problem it is.
    enum Code: Sendable, Equatable {
        /// Kafka is unreachable or refuses a request.
        case kafka
        /// libcurl failed.
        case http
        /// PostgreSQL is unreachable or refuses a statement.
        case postgres
        /// A file cannot be written.
        case file
    }

    /// What kind of problem it is.
    let code: Code
    /// What failed, and the remedy.
    let description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
