// Writes seeds for fuzz_decode into a directory: whole streams of every number of lanes, which a fuzzer would hardly
// find, since the states of all lanes have to end right. Short streams have many lanes where the symbols that the
// encoder looks at to choose their number cost more than the others.
#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <string>

#include "../tests/harness.hpp"

namespace {

using harness::Bytes;
using harness::Work;

constexpr std::size_t kMost = 1400;  // bytes of a seed

struct Choice {
    std::size_t row;
    std::int32_t symbol;
    std::uint32_t cost;
};

// For each table one of its symbols: the cheapest.
std::vector<Choice> cheapest(const intaglio::Tables& tables) {
    std::vector<Choice> choices;
    for (std::size_t row = 0; row < tables.size(); ++row) {
        Choice best{row, 0, UINT32_MAX};
        for (std::int64_t i = 0; i < tables.regular(row); ++i) {
            const std::int64_t symbol = tables.first(row) + i;
            const std::uint32_t cost = tables.cost(row, symbol);
            if (cost < best.cost) best = {row, static_cast<std::int32_t>(symbol), cost};
        }
        choices.push_back(best);
    }
    return choices;
}

class Maker {
public:
    Maker(std::size_t set, const intaglio::Tables& tables) : set_(set), tables_(tables), choices_(cheapest(tables)) {}

    // A seed for each number of lanes, with and without surprises: the first one found that is short enough.
    std::map<int, Bytes> seeds() {
        std::map<int, Bytes> found;
        for (int i = 0; i < 3000; ++i) {
            const Work work = make();
            const std::vector<std::uint8_t> pattern(work.rows.begin(), work.rows.begin() + std::ptrdiff_t(period_));
            const Bytes stream = harness::encode<std::int32_t>(work, tables_, intaglio::kPortable, true);
            if (stream.size() < kMost && !found.contains(stream[0])) found[stream[0]] = seed(work, pattern, stream);
        }
        return found;
    }

private:
    std::size_t below(std::size_t end) { return random_() % end; }

    std::int32_t dear_symbol(std::size_t row) {
        const auto place = static_cast<std::int64_t>(below(static_cast<std::size_t>(tables_.regular(row)) + 2));
        const std::int64_t symbol = tables_.first(row) + place - 1;  // the ends are just outside the table
        return static_cast<std::int32_t>(std::clamp<std::int64_t>(symbol, INT32_MIN, INT32_MAX));
    }

    // One dear symbol in each period.
    Work make() {
        Work work;
        period_ = std::min<std::size_t>(1 + below(31), choices_.size() > 1 ? 31 : 1);
        const std::size_t size = below(4) ? period_ * (1 + below(8200 / period_)) : 1 + below(100);
        const bool surprise = below(3) == 0;
        const std::size_t dear = below(choices_.size());
        Choice cheap = choices_[below(choices_.size())];
        for (const Choice& each : choices_)
            if (each.cost < cheap.cost) cheap = each;
        period_ = std::min(period_, size);
        for (std::size_t i = 0; i < size; ++i) {
            const bool first = i % period_ == 0;
            work.rows.push_back(static_cast<std::uint8_t>(first ? dear : cheap.row));
            work.symbols.push_back(first ? dear_symbol(dear) : cheap.symbol);
            if (surprise && !first && below(1000) == 0) work.symbols.back() = static_cast<std::int32_t>(below(100));
        }
        const std::size_t part = below(size + 1);
        work.slices = {part, size - part};
        return work;
    }

    // What fuzz_decode reads.
    Bytes seed(const Work& work, const Bytes& pattern, const Bytes& stream) const {
        const auto low = [](std::size_t number) { return static_cast<std::uint8_t>(number & 0xff); };
        const std::size_t size = work.rows.size();
        Bytes bytes{low(set_), low(pattern.size() << 3 | 2 | 1), low(size), low(size >> 8), 1};
        bytes.insert(bytes.end(), {low(work.slices[0]), low(work.slices[0] >> 8)});
        bytes.insert(bytes.end(), pattern.begin(), pattern.end());
        bytes.insert(bytes.end(), stream.begin(), stream.end());
        return bytes;
    }

    std::size_t set_;
    const intaglio::Tables& tables_;
    std::vector<Choice> choices_;
    std::mt19937 random_{1};
    std::size_t period_ = 1;
};

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: seeds DIRECTORY\n");
        return 1;
    }
    const auto& sets = harness::table_sets();
    for (std::size_t set = 0; set < sets.size(); ++set) {
        for (const auto& [kind, bytes] : Maker(set, sets[set]).seeds()) {
            const std::string name = "/stream-" + std::to_string(set) + "-" + std::to_string(kind);
            std::ofstream file(arguments[1] + name, std::ios::binary);
            file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
        }
    }
}
