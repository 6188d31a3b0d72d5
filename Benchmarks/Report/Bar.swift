// Compares a measured figure with the value it should reach.

/// A figure with a bar. A missed bar does not change the exit status, because machines differ.
struct Bar: Codable, Sendable {
    enum Direction: String, Codable { case atLeast = "at least", atMost = "at most" }

    let name: String
    let value: Double
    let direction: Direction
    let bar: Double
    let isMet: Bool

    init(_ name: String, _ value: Double, _ direction: Direction, _ bar: Double) {
        self.name = name
        self.value = value
        self.direction = direction
        self.bar = bar
        isMet = direction == .atLeast ? value >= bar : value <= bar
    }

    /// Prints one line.
    func show() {
        say("  \(isMet ? "met   " : "MISSED") \(name): \(value.shown) (bar: \(direction.rawValue) \(bar.shown))")
    }
}
