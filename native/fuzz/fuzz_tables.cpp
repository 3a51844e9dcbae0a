// Any arrays: either they are refused, or symbols come back from every implementation's round trip, and any bytes end
// in the same way in all of them.
#include <optional>

#include "input.hpp"

namespace {

// Arrays of any length with anything in them.
harness::Arrays anything(fuzz::Input& input) {
    harness::Arrays arrays;
    const std::size_t firsts = input.number(2) % 300;
    const std::size_t sizes = input.byte() & 7 ? firsts : input.number(2) % 300;
    const std::size_t frequencies = input.number(2);
    for (std::size_t i = 0; i < firsts; ++i) arrays.first.push_back(static_cast<std::int32_t>(input.number(4)));
    for (std::size_t i = 0; i < sizes; ++i) arrays.sizes.push_back(static_cast<std::int32_t>(input.number(4)));
    for (std::size_t i = 0; i < frequencies; ++i)
        arrays.frequencies.push_back(static_cast<std::uint16_t>(input.number(2)));
    return arrays;
}

std::int64_t first_symbol(fuzz::Input& input, std::int64_t regular) {
    const std::uint8_t kind = input.byte();
    const std::int64_t small = kind >> 3;
    switch (kind & 7) {
        case 0: return -small;
        case 1: return -regular / 2 + small;
        case 2: return INT32_MIN + small;
        case 3: return INT32_MAX - regular + 1 - small;
        case 4: return INT16_MIN + small;
        case 5: return INT16_MAX - regular - small;
        case 6: return static_cast<std::int16_t>(input.number(2));
        default: return static_cast<std::int32_t>(input.number(4));
    }
}

// Tables that are mostly right: the escape takes what the other cells leave.
harness::Arrays plausible(fuzz::Input& input) {
    harness::Arrays arrays;
    const std::size_t tables = 1 + input.byte();
    // one of the largest tables is enough: more of them only take time
    for (std::size_t row = 0; row < tables && input.left() > 0 && arrays.frequencies.size() < intaglio::kTotal; ++row) {
        const std::uint8_t form = input.byte();
        const std::size_t regular = form & 1 ? 1 + form / 8u : 1 + input.number(2) % 32768;
        std::vector<std::uint16_t> cells;
        std::uint32_t left = intaglio::kTotal;
        for (std::size_t i = 0; i < regular; ++i) {
            const std::uint32_t wish = input.left() == 0 ? 1 : 1 + (form & 2 ? input.number(2) : input.byte());
            const std::uint32_t most = left > regular - i ? left - static_cast<std::uint32_t>(regular - i) : 1;
            cells.push_back(static_cast<std::uint16_t>(std::min(wish, most)));
            left -= std::min<std::uint32_t>(cells.back(), left);
        }
        cells.push_back(static_cast<std::uint16_t>(left));
        if (form & 4) std::reverse(cells.begin(), cells.end());
        arrays.add(first_symbol(input, static_cast<std::int64_t>(regular)), cells);
    }
    return arrays;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const harness::Arrays arrays = input.byte() & 3 ? plausible(input) : anything(input);
    std::optional<intaglio::Tables> tables;
    try {
        tables.emplace(arrays.tables());
    } catch (const intaglio::ArgumentError&) {
        return 0;
    }
    const fuzz::Work work = fuzz::work(input, *tables);
    harness::round_trip(work, *tables);
    const auto rest = input.rest();
    harness::decode(fuzz::Bytes(rest.begin(), rest.end()), work, *tables);
    return 0;
}
