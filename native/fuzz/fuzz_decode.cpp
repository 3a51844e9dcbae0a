// Any bytes, indexes and slices: every implementation ends in the same way with the same symbols, and what is accepted
// as a whole can be coded again.
#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const auto& sets = harness::table_sets();
    const intaglio::Tables& tables = sets[input.byte() % sets.size()];
    const std::uint8_t options = input.byte();
    const std::size_t count = options & 1 ? input.number(2) % fuzz::kMostSymbols : input.byte();
    const bool honest = (options >> 1 & 3) != 0;  // else indexes may lie outside the tables
    fuzz::Work work;
    work.slices = fuzz::cut(input, count);
    const auto pattern = input.take(options >> 3);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t row = pattern.empty() ? i : pattern[i % pattern.size()];
        work.rows.push_back(static_cast<std::uint8_t>(honest ? row % tables.size() : row));
    }
    const auto rest = input.rest();
    const harness::Outcome outcome = harness::decode(fuzz::Bytes(rest.begin(), rest.end()), work, tables);
    if (outcome.whole() && outcome.symbols.size() == count) {
        work.symbols = outcome.symbols;
        harness::round_trip(work, tables);
    }
    return 0;
}
