// Owns the quoting of names from the catalog and mapping files in SQL.

/// A quoted identifier, for a name of any characters.
func quoteIdentifier(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}
