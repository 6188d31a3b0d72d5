// Owns the error that ends a run before it has a result.

/// Why a run could not be made.
struct LoadError: Error, Sendable, CustomStringConvertible {
    /// What kind of trouble it is.
    enum Code: Sendable, Equatable {
        /// Kafka.
        case kafka
        /// The HTTP side.
        case http
        /// The database.
        case postgres
        /// A file that could not be written.
        case file
    }

    /// What kind of trouble it is.
    let code: Code
    /// The thing and the remedy.
    let description: String

    /// An error of one kind, in a sentence that names the thing and the remedy.
    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
