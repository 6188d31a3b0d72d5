// Reads the connection string, and the password, anew for each connection.

internal import Platform

extension PostgresConfiguration {
    /// The most bytes of a file that holds the connection string.
    private static let longestURI = 64 << 10

    /// What ``uriFile`` holds now, without line breaks at its end; ``uri`` where there is no such file. Blocks as long as the disk does.
    func presentURI() throws(PostgresError) -> String {
        guard let uriFile else { return uri }
        let bytes: [UInt8]
        do throws(SmallFile.Failure) {
            bytes = try SmallFile.read(uriFile, atMost: Self.longestURI)
        } catch {
            throw PostgresError(.connection, "the file \(uriFile) with the connection string \(error)")
        }
        guard let text = String(validating: bytes, as: UTF8.self)?.withoutTrailingLineBreaks else {
            throw PostgresError(.connection, "the file \(uriFile) with the connection string is not UTF-8")
        }
        guard text.contains(where: { !$0.isWhitespace }) else {
            throw PostgresError(.connection, "the file \(uriFile) with the connection string is empty")
        }
        return text
    }

    /// The keywords to connect with now. A file that has changed and cannot be understood is an outage, because it may be half written.
    func presentKeywords() throws(PostgresError) -> ConnectionKeywords {
        let text = try presentURI()
        do throws(PostgresError) {
            return try ConnectionKeywords(self, uri: text)
        } catch {
            guard let uriFile, text != uri else { throw error }
            throw PostgresError(.connection, "the file \(uriFile): \(error.message)")
        }
    }
}
