// The Python face of the native core: converts arguments, releases the GIL, maps errors; nothing else lives here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string_view.h>

#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "decoder.hpp"
#include "dispatch.hpp"
#include "encoder.hpp"
#include "trellis.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T>
using Array = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class T>
std::span<T> view(const Array<T>& array) {
    return {array.data(), array.size()};
}

// The kernels of that name; the fastest if it is empty.
const intaglio::Kernels& kernels(std::string_view name) {
    for (const intaglio::Kernels* each : intaglio::available_kernels())
        if (name.empty() || name == each->name) return *each;
    throw intaglio::ArgumentError("this machine cannot run the implementation " + std::string(name));
}

template <class Symbol>
void push(intaglio::Encoder& encoder, Array<const Symbol> symbols, Array<const std::uint8_t> indexes) {
    const nb::gil_scoped_release unlocked;
    encoder.push(view(symbols), view(indexes));
}

nb::bytes finish(intaglio::Encoder& encoder) {
    std::vector<std::uint8_t> coded;
    {
        const nb::gil_scoped_release unlocked;
        coded = encoder.finish();
    }
    return nb::bytes(coded.data(), coded.size());
}

// One slice, without a copy of it.
template <class Symbol>
nb::bytes encode(Array<const Symbol> symbols, Array<const std::uint8_t> indexes, const intaglio::Tables& tables,
                 std::string_view implementation) {
    intaglio::Encoder encoder(tables, kernels(implementation));
    {
        const nb::gil_scoped_release unlocked;
        encoder.push(view(symbols), view(indexes), true);
    }
    return finish(encoder);
}

void pull(intaglio::Decoder& decoder, Array<const std::uint8_t> indexes, Array<std::int32_t> symbols) {
    const nb::gil_scoped_release unlocked;
    decoder.pull(view(indexes), view(symbols));
}

void follow(intaglio::Decoder& decoder, Array<const std::uint8_t> indexes, Array<std::int32_t> steps) {
    const nb::gil_scoped_release unlocked;
    decoder.follow(view(indexes), view(steps));
}

void quantise(const intaglio::Trellis& trellis, Array<const float> latents, Array<const std::uint8_t> indexes,
              Array<std::int32_t> symbols, Array<std::uint8_t> used, Array<std::int32_t> steps) {
    const nb::gil_scoped_release unlocked;
    trellis.quantise(view(latents), view(indexes), {view(symbols), view(used), view(steps)});
}

// C++ errors become the package's own; `class_name` must live as long as the module.
template <class Error>
void raise_as(const char* class_name) {
    nb::object python_class = nb::module_::import_("intaglio.errors").attr(class_name);
    nb::register_exception_translator(
        [](const std::exception_ptr& pointer, void* payload) {
            try {
                std::rethrow_exception(pointer);
            } catch (const Error& error) {
                PyErr_SetString(static_cast<PyObject*>(payload), error.what());
            }
        },
        python_class.release().ptr());
}

}  // namespace

NB_MODULE(_native, module) {
    nb::set_leak_warnings(false);  // tables that live until the interpreter ends are no fault of their user
    raise_as<intaglio::FormatError>("FormatError");
    raise_as<intaglio::ArgumentError>("ArgumentError");

    nb::class_<intaglio::Tables>(module, "Tables")
        .def(
            "__init__",
            [](intaglio::Tables* self, Array<const std::int32_t> first, Array<const std::int32_t> sizes,
               Array<const std::uint16_t> frequencies) {
                new (self) intaglio::Tables(view(first), view(sizes), view(frequencies));
            },
            "first"_a.noconvert(), "sizes"_a.noconvert(), "frequencies"_a.noconvert());

    nb::class_<intaglio::Encoder>(module, "Encoder")
        .def(
            "__init__",
            [](intaglio::Encoder* self, const intaglio::Tables& tables, std::string_view implementation) {
                new (self) intaglio::Encoder(tables, kernels(implementation));
            },
            "tables"_a, "implementation"_a, nb::keep_alive<1, 2>())
        .def("push", &push<std::int32_t>, "symbols"_a.noconvert(), "indexes"_a.noconvert())
        .def("push", &push<std::int16_t>, "symbols"_a.noconvert(), "indexes"_a.noconvert())
        .def("finish", &finish);

    nb::class_<intaglio::Decoder>(module, "Decoder")
        .def(
            "__init__",
            [](intaglio::Decoder* self, const nb::bytes& data, const intaglio::Tables& tables,
               std::string_view implementation) {
                const auto* bytes = static_cast<const std::uint8_t*>(data.data());
                new (self) intaglio::Decoder({bytes, data.size()}, tables, kernels(implementation));
            },
            "data"_a, "tables"_a, "implementation"_a, nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
        .def("pull", &pull, "indexes"_a.noconvert(), "symbols"_a.noconvert())
        .def("follow", &follow, "indexes"_a.noconvert(), "steps"_a.noconvert())
        .def("finish", [](intaglio::Decoder& decoder) { decoder.finish(); });

    nb::class_<intaglio::Trellis>(module, "Trellis")
        .def(nb::init<const intaglio::Tables&, float>(), "tables"_a, "weight"_a, nb::keep_alive<1, 2>())
        .def("quantise", &quantise, "latents"_a.noconvert(), "indexes"_a.noconvert(), "symbols"_a.noconvert(),
             "used"_a.noconvert(), "steps"_a.noconvert());

    module.def("encode", &encode<std::int32_t>, "symbols"_a.noconvert(), "indexes"_a.noconvert(), "tables"_a,
               "implementation"_a);
    module.def("encode", &encode<std::int16_t>, "symbols"_a.noconvert(), "indexes"_a.noconvert(), "tables"_a,
               "implementation"_a);
    module.def("implementations", [] {
        nb::list names;
        for (const intaglio::Kernels* each : intaglio::available_kernels()) names.append(each->name);
        return names;
    });
}
