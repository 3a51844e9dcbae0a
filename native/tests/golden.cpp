// Decodes golden streams (tests/golden/rans/README.md says how a file is laid out) with every implementation that this
// machine can run. Arguments: the files.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "harness.hpp"

namespace {

using harness::Bytes;

// Little-endian numbers, one after another.
class Reader {
public:
    explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    std::span<const std::uint8_t> take(std::size_t size) {
        harness::require(size <= bytes_.size(), "a golden file holds what its README says");
        const auto taken = bytes_.first(size);
        bytes_ = bytes_.subspan(size);
        return taken;
    }

    std::uint32_t number(std::size_t size) {
        std::uint32_t value = 0;
        const auto bytes = take(size);
        for (std::size_t i = 0; i < size; ++i) value |= std::uint32_t{bytes[i]} << 8 * i;
        return value;
    }

    std::int32_t symbol() { return static_cast<std::int32_t>(number(4)); }
    bool at_end() const { return bytes_.empty(); }

private:
    std::span<const std::uint8_t> bytes_;
};

harness::Arrays read_tables(Reader& reader) {
    harness::Arrays arrays;
    std::size_t cells = 0;
    for (std::uint32_t left = reader.number(4); left > 0; --left) {
        arrays.first.push_back(reader.symbol());
        arrays.sizes.push_back(static_cast<std::int32_t>(reader.number(4)));
        cells += static_cast<std::size_t>(arrays.sizes.back());
    }
    for (; cells > 0; --cells) arrays.frequencies.push_back(static_cast<std::uint16_t>(reader.number(2)));
    return arrays;
}

harness::Work read_work(Reader& reader) {
    harness::Work work;
    for (std::uint32_t left = reader.number(4); left > 0; --left) {
        const std::size_t size = reader.number(4);
        const std::size_t period = reader.number(4);
        const auto rows = reader.take(period);
        harness::Symbols symbols;
        for (std::size_t i = 0; i < period; ++i) symbols.push_back(reader.symbol());
        for (std::size_t i = 0; i < size; ++i) {
            work.rows.push_back(rows[i % period]);
            work.symbols.push_back(symbols[i % period]);
        }
        work.slices.push_back(size);
    }
    return work;
}

void check(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    harness::require(file.good(), path + " can be read");
    const Bytes bytes{std::istreambuf_iterator<char>(file), {}};
    Reader reader(bytes);
    const intaglio::Tables tables = read_tables(reader).tables();
    const harness::Work work = read_work(reader);
    const auto stream = reader.take(reader.number(4));
    harness::require(reader.at_end(), path + " ends with its stream");
    const harness::Outcome outcome = harness::decode(Bytes(stream.begin(), stream.end()), work, tables);
    harness::require(outcome.whole(), path + " decodes without an error");
    harness::require(outcome.symbols == work.symbols, path + " decodes to its symbols");
}

}  // namespace

int main(int count, char** arguments) {
    for (int i = 1; i < count; ++i) check(arguments[i]);
    harness::require(count > 1, "there are golden streams");
    std::printf("%d golden streams\n", count - 1);
}
