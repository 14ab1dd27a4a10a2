/* The rhythm rules' loops for Python that remember nothing. */
#include "arrays.h"
#include "loops.h"

#include <string.h>

/* Functions: readable, fibrillation, ventricular */

static PyObject *py_span_columns(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    Py_buffer *rows;
    if (!expect_arguments(n, 2) || !(rows = borrow(&all, args[0], 'd', 2, false, false)))
        return release(&all);
    const size_t step = PyLong_AsSize_t(args[1]), leads = (size_t)rows->shape[1];
    if (PyErr_Occurred() || !expect(step && step < 1000000 && leads <= LEADS))
        return release(&all);
    double spans[LEADS];
    span_columns(rows->buf, (size_t)rows->shape[0], leads, step, spans);
    release(&all);
    return list_of_doubles(spans, leads);
}

#define MOST_LOOKS 4

static PyObject *py_measure_windows(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    Py_buffer *wave;
    if (!expect_arguments(n, 5) || !(wave = borrow(&all, args[0], 'd', 2, false, true)))
        return release(&all);
    const size_t step = PyLong_AsSize_t(args[1]), window = PyLong_AsSize_t(args[2]);
    const size_t apart = PyLong_AsSize_t(args[3]), looks = PyLong_AsSize_t(args[4]);
    const size_t leads = (size_t)wave->shape[0];
    if (PyErr_Occurred() || !expect(step && leads <= LEADS && looks && looks <= MOST_LOOKS &&
                                    apart < 1000000 && window < 1000000 &&
                                    window + (looks - 1) * apart <= (size_t)wave->shape[1]))
        return release(&all);
    double size[LEADS * MOST_LOOKS], highest[LEADS * MOST_LOOKS];
    measure_windows(wave->buf, leads, (size_t)wave->strides[0] / sizeof(double), step, window, apart, looks, size,
                    highest);
    release(&all);
    return Py_BuildValue("(NN)", list_of_rows(size, leads, looks), list_of_rows(highest, leads, looks));
}

/* Borrow a template and what surrounds a beat, and read who is usable; NULL with an exception set where they are not
 * of the same leads. */
static Py_buffer *borrow_shapes(Buffers *all, PyObject *const *args, bool writable, size_t shift, bool *usable)
{
    Py_buffer *template_ = borrow(all, args[0], 'd', 2, writable, false);
    Py_buffer *wide = template_ ? borrow(all, args[1], 'd', 2, false, true) : NULL;
    if (!wide || !expect(shift < 100 && template_->shape[0] == wide->shape[0] && template_->shape[0] <= LEADS &&
                         (size_t)wide->shape[1] == (size_t)template_->shape[1] + 2 * shift) ||
        !take_flags(args[3], (size_t)template_->shape[0], usable))
        return NULL;
    return template_;
}

static PyObject *py_correlation(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    bool usable[LEADS];
    if (!expect_arguments(n, 5))
        return NULL;
    const size_t shift = PyLong_AsSize_t(args[2]);
    const double enough = PyFloat_AsDouble(args[4]);
    const Py_buffer *template_ = PyErr_Occurred() ? NULL : borrow_shapes(&all, args, false, shift, usable);
    if (!template_)
        return release(&all);
    const Py_buffer *wide = template_ + 1;
    const double found = correlation(template_->buf, wide->buf, (size_t)template_->shape[0],
                                     (size_t)template_->shape[1], (size_t)wide->strides[0] / sizeof(double), shift,
                                     usable, enough);
    release(&all);
    return PyFloat_FromDouble(found);
}

static PyObject *py_blend(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    bool usable[LEADS];
    if (!expect_arguments(n, 5))
        return NULL;
    const size_t shift = PyLong_AsSize_t(args[2]);
    const double memory = PyFloat_AsDouble(args[4]);
    const Py_buffer *template_ = PyErr_Occurred() ? NULL : borrow_shapes(&all, args, true, shift, usable);
    if (!template_)
        return release(&all);
    const Py_buffer *wide = template_ + 1;
    blend(template_->buf, wide->buf, (size_t)template_->shape[0], (size_t)template_->shape[1],
          (size_t)wide->strides[0] / sizeof(double), shift, usable, memory);
    release(&all);
    Py_RETURN_NONE;
}

/* Spectrum */

typedef struct {
    PyObject_HEAD
    Spectrum spectrum;
} SpectrumObject;

static int spectrum_init(SpectrumObject *self, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    PyObject *arrays[5];
    Py_buffer *bell, *hz, *twice, *first, *last;
    Spectrum *made = &self->spectrum;
    Buffers all = {.count = 0};
    made->bins = 0;
    if (!PyArg_ParseTuple(args, "OOOOOddd", &arrays[0], &arrays[1], &arrays[2], &arrays[3], &arrays[4], &made->score,
                          &made->slowest, &made->fastest))
        return -1;
    const bool good = (bell = borrow(&all, arrays[0], 'd', 1, false, false)) &&
                      (hz = borrow(&all, arrays[1], 'd', 1, false, false)) &&
                      (twice = borrow(&all, arrays[2], 'd', 1, false, false)) &&
                      (first = borrow(&all, arrays[3], 'i', 1, false, false)) &&
                      (last = borrow(&all, arrays[4], 'i', 1, false, false)) &&
                      expect(bell->shape[0] == POINTS && hz->shape[0] <= BINS && twice->shape[0] == hz->shape[0] &&
                             first->shape[0] == hz->shape[0] && last->shape[0] == hz->shape[0]);
    if (good) {
        const size_t bins = (size_t)hz->shape[0];
        memcpy(made->bell, bell->buf, sizeof made->bell);
        memcpy(made->hz, hz->buf, bins * sizeof(double));
        memcpy(made->twice_cosine, twice->buf, bins * sizeof(double));
        memcpy(made->first, first->buf, bins * sizeof(int));
        memcpy(made->last, last->buf, bins * sizeof(int));
        made->bins = bins;
    }
    release(&all);
    return good ? 0 : -1;
}

static PyObject *spectrum_most_show_it(SpectrumObject *self, PyObject *const *args, Py_ssize_t n)
{
    Buffers all = {.count = 0};
    Py_buffer *wave;
    size_t lead[LEADS];
    double size[LEADS];
    if (!expect_arguments(n, 5) || !expect(self->spectrum.bins) ||
        !expect(PyList_Check(args[2]) && PyList_Check(args[3]) && PyList_Size(args[2]) == PyList_Size(args[3]) &&
                PyList_Size(args[2]) <= LEADS) ||
        !(wave = borrow(&all, args[0], 'd', 2, false, true)))
        return release(&all);
    const size_t step = PyLong_AsSize_t(args[1]), needed = PyLong_AsSize_t(args[4]);
    const size_t count = (size_t)PyList_Size(args[2]);
    bool fits = step && step < 1000 && needed && (size_t)wave->shape[1] > (POINTS - 1) * step;
    for (size_t i = 0; i < count && !PyErr_Occurred(); i++) {
        lead[i] = PyLong_AsSize_t(PyList_GetItem(args[2], (Py_ssize_t)i));
        size[i] = PyFloat_AsDouble(PyList_GetItem(args[3], (Py_ssize_t)i));
        fits = fits && lead[i] < (size_t)wave->shape[0];
    }
    if (PyErr_Occurred() || !expect(fits))
        return release(&all);
    const bool shown = most_show_it(&self->spectrum, wave->buf, (size_t)wave->strides[0] / sizeof(double), step, lead,
                                    size, count, needed);
    release(&all);
    return PyBool_FromLong(shown);
}

static PyMethodDef spectrum_methods[] = {
    {"most_show_it", (PyCFunction)(void (*)(void))spectrum_most_show_it, METH_FASTCALL, "See rhythm.h."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot spectrum_slots[] = {
    {Py_tp_init, spectrum_init}, {Py_tp_dealloc, deallocate}, {Py_tp_methods, spectrum_methods}, {0, NULL}};
static PyType_Spec spectrum_spec = {
    "ecg_edge.runtime.native._kernels.Spectrum", sizeof(SpectrumObject), 0, Py_TPFLAGS_DEFAULT, spectrum_slots};

/* Filters */

typedef struct {
    PyObject_HEAD
    Kernels kernels;
} FiltersObject;

static int filters_init(FiltersObject *self, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    PyObject *wave_array, *wavelet_array;
    Buffers all = {.count = 0};
    Py_buffer *wave, *wavelets;
    if (!PyArg_ParseTuple(args, "OO", &wave_array, &wavelet_array))
        return -1;
    if (!(wave = borrow(&all, wave_array, 'd', 1, false, false)) ||
        !(wavelets = borrow(&all, wavelet_array, 'd', 2, false, false)) ||
        !expect(wave->shape[0] == 2 * HALF + 1 && wavelets->shape[0] == 4 && wavelets->shape[1] == SHORT_HALF + 1)) {
        release(&all);
        return -1;
    }
    set_wave(&self->kernels, wave->buf);
    memcpy(self->kernels.wavelet, wavelets->buf, sizeof self->kernels.wavelet);
    release(&all);
    return 0;
}

static PyObject *filters_apply(FiltersObject *self, PyObject *const *args, Py_ssize_t n)
{
    Buffers all = {.count = 0};
    Py_buffer *signal, *wave, *squares;
    if (!expect_arguments(n, 3) || !(signal = borrow(&all, args[0], 'd', 2, false, false)) ||
        !(wave = borrow(&all, args[1], 'd', 2, true, true)) || !(squares = borrow(&all, args[2], 'd', 3, true, false)))
        return release(&all);
    const Py_ssize_t leads = signal->shape[1], rows = wave->shape[1];
    if (!expect(leads <= LEADS && signal->shape[0] == 2 * HALF + rows && wave->shape[0] == leads &&
                squares->shape[0] == 2 && squares->shape[1] == rows && squares->shape[2] == leads))
        return release(&all);
    const Loops *with = loops_for((size_t)leads);
    with->filter_rows(&self->kernels, signal->buf, (size_t)leads, (size_t)rows, wave->buf,
                      (size_t)wave->strides[0] / sizeof(double), squares->buf);
    release(&all);
    Py_RETURN_NONE;
}

static PyMethodDef filters_methods[] = {
    {"apply", (PyCFunction)(void (*)(void))filters_apply, METH_FASTCALL, "Filter rows of signal."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot filters_slots[] = {
    {Py_tp_init, filters_init}, {Py_tp_dealloc, deallocate}, {Py_tp_methods, filters_methods}, {0, NULL}};
static PyType_Spec filters_spec = {
    "ecg_edge.runtime.native._kernels.Filters", sizeof(FiltersObject), 0, Py_TPFLAGS_DEFAULT, filters_slots};

/* All of it */

static PyMethodDef functions[] = {
    {"span_columns", (PyCFunction)(void (*)(void))py_span_columns, METH_FASTCALL, "See rhythm.h."},
    {"measure_windows", (PyCFunction)(void (*)(void))py_measure_windows, METH_FASTCALL, "See rhythm.h."},
    {"correlation", (PyCFunction)(void (*)(void))py_correlation, METH_FASTCALL, "See rhythm.h."},
    {"blend", (PyCFunction)(void (*)(void))py_blend, METH_FASTCALL, "See rhythm.h."},
    {NULL, NULL, 0, NULL},
};

int add_rhythm(PyObject *module)
{
    const int failed = PyModule_AddFunctions(module, functions) || add_type(module, "Spectrum", &spectrum_spec) || add_type(module, "Filters", &filters_spec);
    return failed ? -1 : 0;
}
