// The executable's way in.
@main struct Main { static func main() {} }
