// Owns quoting: names and texts from catalogue and mapping files as they may stand in SQL.

/// A name as SQL takes it literally, whatever characters it has.
func quoteIdentifier(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}
