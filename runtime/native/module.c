/* The loops of this folder as a Python module: arrays in by the buffer protocol, checked, then one call. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000 /* one build serves Python 3.11 and what comes after */
#include <Python.h>
#include <stdlib.h>
#include <string.h>

#include "loops.h"

const Loops *loops;

/* Buffers */

#define MOST_BUFFERS 6

typedef struct {
    Py_buffer buffer[MOST_BUFFERS];
    int count;
} Buffers;

static void *release(Buffers *buffers)
{
    while (buffers->count)
        PyBuffer_Release(&buffers->buffer[--buffers->count]);
    return NULL;
}

/* Borrow an array of `format` ('d', 'i', 'h' or 'B') with `ndim` axes; NULL with an exception set where it is another.
 *
 * All its axes but the first must be in one piece, and the first, too, unless `rows_apart`. */
static Py_buffer *borrow(Buffers *buffers, PyObject *array, char format, int ndim, bool writable, bool rows_apart)
{
    Py_buffer *buffer = &buffers->buffer[buffers->count];
    if (PyObject_GetBuffer(array, buffer, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)))
        return NULL;
    buffers->count++;
    const Py_ssize_t size = format == 'd' ? 8 : format == 'i' ? 4 : format == 'h' ? 2 : 1;
    bool good = buffer->ndim == ndim && buffer->itemsize == size && buffer->format && buffer->format[0] == format &&
                !buffer->format[1];
    Py_ssize_t stride = size;
    for (int axis = ndim - 1; good && axis >= 0; axis--) {
        const bool apart = !axis && rows_apart && buffer->strides[0] >= stride && buffer->strides[0] % size == 0;
        good = buffer->shape[axis] > 0 && (apart || buffer->shape[axis] == 1 || buffer->strides[axis] == stride);
        stride *= buffer->shape[axis];
    }
    if (good)
        return buffer;
    PyErr_Format(PyExc_ValueError, "expected an array of '%c' with %d axes in one piece", format, ndim);
    return NULL;
}

static bool expect(bool fits)
{
    if (!fits)
        PyErr_SetString(PyExc_ValueError, "the arrays' sizes do not belong together");
    return fits;
}

static bool take_flags(PyObject *tuple, size_t count, bool *flags)
{
    if (!expect(PyTuple_Check(tuple) && PyTuple_Size(tuple) == (Py_ssize_t)count))
        return false;
    for (size_t i = 0; i < count; i++)
        flags[i] = PyObject_IsTrue(PyTuple_GetItem(tuple, (Py_ssize_t)i)) == 1;
    return !PyErr_Occurred();
}

static bool expect_arguments(Py_ssize_t given, Py_ssize_t wanted)
{
    if (given != wanted)
        PyErr_Format(PyExc_TypeError, "%zd arguments expected, %zd given", wanted, given);
    return given == wanted;
}

static PyObject *list_of_longs(const int32_t *values, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *value = PyLong_FromLong(values[i]);
        if (!value || PyList_SetItem(list, (Py_ssize_t)i, value)) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *list_of_doubles(const double *values, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *value = PyFloat_FromDouble(values[i]);
        if (!value || PyList_SetItem(list, (Py_ssize_t)i, value)) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *list_of_rows(const double *values, size_t rows, size_t columns)
{
    PyObject *list = PyList_New((Py_ssize_t)rows);
    for (size_t row = 0; list && row < rows; row++) {
        PyObject *one = list_of_doubles(values + row * columns, columns);
        if (!one || PyList_SetItem(list, (Py_ssize_t)row, one)) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *tuple_of_flags(const bool *flags, size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++)
        PyTuple_SetItem(tuple, (Py_ssize_t)i, PyBool_FromLong(flags[i]));
    return tuple;
}

/* Which loops */

static PyObject *py_use(PyObject *self, PyObject *width)
{
    (void)self;
    const long wanted = PyLong_AsLong(width);
    if (PyErr_Occurred())
        return NULL;
    const Loops *choice = wanted == narrow_loops()->width ? narrow_loops() : wide_loops();
    if (!choice || choice->width != wanted)
        return PyErr_Format(PyExc_ValueError, "this processor has no loops of %ld doubles at once", wanted);
    loops = choice;
    Py_RETURN_NONE;
}

static PyObject *py_width(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyLong_FromLong(loops->width);
}

/* Front end */

static PyObject *py_within(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    Py_buffer *values;
    if (!expect_arguments(n, 2) || !(values = borrow(&all, args[0], 'd', 2, false, false)))
        return release(&all);
    const double limit = PyFloat_AsDouble(args[1]);
    const bool good = loops->within(values->buf, (size_t)values->len / sizeof(double), limit);
    release(&all);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(good);
}

static PyObject *py_shift(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    Py_buffer *values, *offsets;
    if (!expect_arguments(n, 2) || !(values = borrow(&all, args[0], 'd', 2, true, false)) ||
        !(offsets = borrow(&all, args[1], 'd', 1, false, false)) || !expect(values->shape[1] == offsets->shape[0]))
        return release(&all);
    loops->shift(values->buf, (size_t)values->shape[0], (size_t)values->shape[1], offsets->buf);
    release(&all);
    Py_RETURN_NONE;
}

static PyObject *py_any_beyond(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    Py_buffer *values, *usual, *limits;
    if (!expect_arguments(n, 3) || !(values = borrow(&all, args[0], 'd', 2, false, false)) ||
        !(usual = borrow(&all, args[1], 'd', 2, false, false)) ||
        !(limits = borrow(&all, args[2], 'd', 2, false, false)) ||
        !expect(usual->len == values->len && limits->len == values->len))
        return release(&all);
    const bool beyond = any_beyond(values->buf, usual->buf, limits->buf, (size_t)values->len / sizeof(double));
    release(&all);
    return PyBool_FromLong(beyond);
}

static PyObject *py_highpass(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    Py_buffer *in, *out;
    if (!expect_arguments(n, 5) || !(in = borrow(&all, args[0], 'd', 2, false, false)) ||
        !(out = borrow(&all, args[2], 'h', 2, true, false)))
        return release(&all);
    const size_t boxcar = PyLong_AsSize_t(args[1]), first = PyLong_AsSize_t(args[3]), last = PyLong_AsSize_t(args[4]);
    if (PyErr_Occurred())
        return release(&all);
    const size_t rows = (size_t)out->shape[0], there = (size_t)in->shape[0];
    if (!expect(boxcar && boxcar <= LONGEST_BOXCAR && !(boxcar & (boxcar - 1)) && there == rows + 2 * (boxcar - 1) &&
                in->shape[1] == LEADS && out->shape[1] == LEADS))
        return release(&all);
    const size_t beyond = loops->highpass(in->buf, rows, boxcar, out->buf, first, last);
    release(&all);
    return PyLong_FromSize_t(beyond);
}

static PyObject *py_look_at_hop(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    Buffers all = {.count = 0};
    Py_buffer *signal, *before;
    if (!expect_arguments(n, 3) || !(signal = borrow(&all, args[0], 'h', 2, false, false)) ||
        !(before = borrow(&all, args[2], 'i', 2, true, false)))
        return release(&all);
    const size_t leads = (size_t)signal->shape[0];
    const long steep = PyLong_AsLong(args[1]);
    if (PyErr_Occurred() || !expect(leads <= LEADS && before->shape[0] == signal->shape[0] && before->shape[1] == 2))
        return release(&all);
    int32_t high[LEADS], low[LEADS], rough[LEADS];
    look_at_hop(signal->buf, leads, (size_t)signal->shape[1], (int32_t)steep, before->buf, high, low, rough);
    release(&all);
    return Py_BuildValue("(NNN)", list_of_longs(high, leads), list_of_longs(low, leads), list_of_longs(rough, leads));
}

/* Readable, fibrillation and shapes */

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

/* Types; none takes part in reference cycles */

static void deallocate(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(self);
    Py_DECREF(type);
}

/* Resampler; it keeps the arrays that it is made of */

typedef struct {
    PyObject_HEAD
    Resampler resampler;
    size_t kernels;
    Buffers kept;
} ResamplerObject;

static int resampler_init(ResamplerObject *self, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    PyObject *taps_array, *derive_array;
    Py_buffer *taps, *derive;
    Resampler *made = &self->resampler;
    self->kernels = 0;
    release(&self->kept);
    if (!PyArg_ParseTuple(args, "OOddd", &taps_array, &derive_array, &made->scale, &made->offset, &made->limit) ||
        !(taps = borrow(&self->kept, taps_array, 'd', 2, false, false)) ||
        !(derive = borrow(&self->kept, derive_array, 'd', 2, false, false)) ||
        !expect(derive->shape[0] <= LEADS && derive->shape[1] == LEADS))
        return -1;
    self->kernels = (size_t)taps->shape[0];
    made->span = (size_t)taps->shape[1];
    made->taps = taps->buf;
    made->channels = (size_t)derive->shape[0];
    made->derive = derive->buf;
    return 0;
}

static void resampler_deallocate(ResamplerObject *self)
{
    release(&self->kept);
    deallocate((PyObject *)self);
}

static PyObject *resampler_apply(ResamplerObject *self, PyObject *const *args, Py_ssize_t n)
{
    Buffers all = {.count = 0};
    Py_buffer *in, *start, *kernel, *out;
    if (!expect_arguments(n, 4) || !expect(self->kernels) || !(in = borrow(&all, args[0], 'd', 2, false, false)) ||
        !(start = borrow(&all, args[1], 'i', 1, false, false)) ||
        !(kernel = borrow(&all, args[2], 'i', 1, false, false)) || !(out = borrow(&all, args[3], 'd', 2, true, false)))
        return release(&all);
    const Py_ssize_t rows = out->shape[0];
    bool fits = (size_t)in->shape[1] == self->resampler.channels && out->shape[1] == LEADS &&
                start->shape[0] == rows && kernel->shape[0] == rows;
    for (Py_ssize_t row = 0; fits && row < rows; row++) {
        const int32_t from = ((const int32_t *)start->buf)[row], one = ((const int32_t *)kernel->buf)[row];
        fits = from >= 0 && from + (Py_ssize_t)self->resampler.span <= in->shape[0] && one >= 0 &&
               (size_t)one < self->kernels;
    }
    if (!expect(fits))
        return release(&all);
    const size_t beyond =
        loops->resample(&self->resampler, in->buf, start->buf, kernel->buf, (size_t)rows, out->buf);
    release(&all);
    return PyLong_FromSize_t(beyond);
}

static PyMethodDef resampler_methods[] = {
    {"apply", (PyCFunction)(void (*)(void))resampler_apply, METH_FASTCALL, "Make rows of 1/16 microvolt."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot resampler_slots[] = {{Py_tp_init, resampler_init},
                                        {Py_tp_dealloc, resampler_deallocate},
                                        {Py_tp_methods, resampler_methods},
                                        {0, NULL}};
static PyType_Spec resampler_spec = {
    "ecg_edge.runtime.native._kernels.Resampler", sizeof(ResamplerObject), 0, Py_TPFLAGS_DEFAULT, resampler_slots};

/* Transform */

typedef struct {
    PyObject_HEAD
    Transform transform;
} TransformObject;

/* Return the quarter of a table (length, bins) that a frame which is folded twice meets, of even or odd bins. */
static double *take_quarter(const double *table, size_t length, size_t bins, size_t kind)
{
    const size_t samples = length / 4 + 1, count = (bins + 1 - kind) / 2, fours = (count + 3) / 4;
    double *quarter = calloc(fours * samples * 4 + 4, sizeof(double));
    for (size_t bin = 0; quarter && bin < count; bin++)
        for (size_t n = 0; n < samples; n++)
            quarter[n * fours * 4 + bin] = table[n * bins + 2 * bin + kind];
    return quarter;
}

static void forget_tables(Transform *transform)
{
    transform->length = 0;
    for (size_t kind = 0; kind < 2; kind++) {
        free(transform->cosine[kind]);
        free(transform->sine[kind]);
        transform->cosine[kind] = transform->sine[kind] = NULL;
    }
}

static int transform_init(TransformObject *self, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    PyObject *arrays[6];
    Py_buffer *window, *cosine, *sine, *normalize, *undo, *log;
    Py_ssize_t hop;
    Transform *made = &self->transform;
    forget_tables(made);
    if (!PyArg_ParseTuple(args, "OOOnOOdOii", &arrays[0], &arrays[1], &arrays[2], &hop, &arrays[3], &arrays[4],
                          &made->scale, &arrays[5], &made->steps, &made->first_step))
        return -1;
    Buffers all = {.count = 0};
    bool good = (window = borrow(&all, arrays[0], 'd', 1, false, false)) &&
                (cosine = borrow(&all, arrays[1], 'd', 2, false, false)) &&
                (sine = borrow(&all, arrays[2], 'd', 2, false, false)) &&
                (normalize = borrow(&all, arrays[3], 'd', 1, false, false)) &&
                (undo = borrow(&all, arrays[4], 'd', 1, false, false)) &&
                (log = borrow(&all, arrays[5], 'B', 1, false, false)) &&
                expect(window->shape[0] >= 4 && window->shape[0] % 4 == 0 && window->shape[0] <= LONGEST_FRAME &&
                       hop > 0 && cosine->shape[0] == window->shape[0] &&
                       cosine->shape[1] <= window->shape[0] / 2 + 1 && sine->shape[0] == cosine->shape[0] &&
                       sine->shape[1] == cosine->shape[1] && normalize->shape[0] == INPUT_BITS + 1 &&
                       undo->shape[0] == INPUT_BITS + 1 && log->shape[0] == sizeof made->step_of);
    if (good) {
        const size_t length = (size_t)window->shape[0], bins = (size_t)cosine->shape[1];
        memcpy(made->window, window->buf, length * sizeof(double));
        memcpy(made->normalize, normalize->buf, sizeof made->normalize);
        memcpy(made->undo, undo->buf, sizeof made->undo);
        memcpy(made->step_of, log->buf, sizeof made->step_of);
        for (size_t kind = 0; kind < 2; kind++) {
            made->cosine[kind] = take_quarter(cosine->buf, length, bins, kind);
            made->sine[kind] = take_quarter(sine->buf, length, bins, kind);
            good = good && made->cosine[kind] && made->sine[kind];
        }
        made->hop = (size_t)hop;
        made->bins = bins;
        made->length = good ? length : 0;
        if (!good)
            PyErr_NoMemory();
    }
    release(&all);
    return good ? 0 : -1;
}

static void transform_deallocate(TransformObject *self)
{
    forget_tables(&self->transform);
    deallocate((PyObject *)self);
}

static PyObject *transform_frames_of(TransformObject *self, PyObject *const *args, Py_ssize_t n)
{
    const Transform *transform = &self->transform;
    Buffers all = {.count = 0};
    Py_buffer *signal, *power;
    if (!expect_arguments(n, 2) || !expect(transform->length) || !(signal = borrow(&all, args[0], 'h', 2, false, true)) ||
        !(power = borrow(&all, args[1], 'B', 3, true, false)))
        return release(&all);
    const size_t leads = (size_t)signal->shape[0], frames = (size_t)power->shape[1];
    if (!expect((size_t)power->shape[0] == leads && (size_t)power->shape[2] == transform->bins &&
                (size_t)signal->shape[1] >= transform->length + (frames - 1) * transform->hop))
        return release(&all);
    for (size_t lead = 0; lead < leads; lead++)
        loops->transform_frames(transform, (const int16_t *)signal->buf + lead * (size_t)signal->strides[0] / sizeof(int16_t),
                         frames, (uint8_t *)power->buf + lead * frames * transform->bins);
    release(&all);
    Py_RETURN_NONE;
}

static PyMethodDef transform_methods[] = {
    {"frames", (PyCFunction)(void (*)(void))transform_frames_of, METH_FASTCALL, "Fill in log power."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot transform_slots[] = {{Py_tp_init, transform_init},
                                        {Py_tp_dealloc, transform_deallocate},
                                        {Py_tp_methods, transform_methods},
                                        {0, NULL}};
static PyType_Spec transform_spec = {
    "ecg_edge.runtime.native._kernels.Transform", sizeof(TransformObject), 0, Py_TPFLAGS_DEFAULT, transform_slots};

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
    loops->filter_rows(&self->kernels, signal->buf, (size_t)leads, (size_t)rows, wave->buf,
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

/* Voting */

typedef struct {
    PyObject_HEAD
    Votes votes;
    PyObject *voices;
} VotingObject;

static int voting_init(VotingObject *self, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    Py_ssize_t leads;
    const bool none[LEADS] = {false};
    if (!PyArg_ParseTuple(args, "n", &leads) || !expect(leads > 0 && leads <= LEADS))
        return -1;
    votes_init(&self->votes, (size_t)leads);
    Py_XDECREF(self->voices);
    self->voices = tuple_of_flags(none, (size_t)leads);
    return self->voices ? 0 : -1;
}

static void voting_deallocate(VotingObject *self)
{
    Py_XDECREF(self->voices);
    deallocate((PyObject *)self);
}

static PyObject *voting_push(VotingObject *self, PyObject *squares)
{
    Buffers all = {.count = 0};
    Py_buffer *buffer = borrow(&all, squares, 'd', 3, false, false);
    if (!buffer || !expect(buffer->shape[0] == 2 && buffer->shape[1] <= ROWS && buffer->shape[1] % BLOCK == 0 &&
                           buffer->shape[2] == (Py_ssize_t)self->votes.leads))
        return release(&all);
    votes_push(&self->votes, buffer->buf, (size_t)buffer->shape[1]);
    release(&all);
    Py_RETURN_NONE;
}

static PyObject *voting_skip(VotingObject *self, PyObject *samples)
{
    const long count = PyLong_AsLong(samples);
    if (PyErr_Occurred())
        return NULL;
    self->votes.end += count;
    Py_RETURN_NONE;
}

static PyObject *voting_join(VotingObject *self, PyObject *const *args, Py_ssize_t n)
{
    bool usable[LEADS], voices[LEADS], weighed;
    double joined[3 * WEIGH_BLOCKS * BLOCK];
    if (!expect_arguments(n, 3) || !take_flags(args[1], self->votes.leads, usable))
        return NULL;
    const size_t block = PyLong_AsSize_t(args[0]);
    if (PyErr_Occurred() || !expect(block < GROUP && (block + 1) * BLOCK <= self->votes.fresh))
        return NULL;
    const size_t blocks =
        votes_join(&self->votes, block, usable, PyObject_IsTrue(args[2]) == 1, joined, voices, &weighed);
    if (weighed) {
        const bool all = !memcmp(voices, usable, self->votes.leads * sizeof *usable);
        PyObject *told = all ? Py_NewRef(args[1]) : tuple_of_flags(voices, self->votes.leads);
        if (!told)
            return NULL;
        Py_XDECREF(self->voices);
        self->voices = told;
    }
    return Py_BuildValue("(ny#)", (Py_ssize_t)blocks, (char *)joined,
                         (Py_ssize_t)(3 * blocks * BLOCK * sizeof(double)));
}

static PyObject *voting_relearn(VotingObject *self, PyObject *unused)
{
    (void)unused;
    votes_relearn(&self->votes);
    Py_RETURN_NONE;
}

static PyObject *voting_beat(VotingObject *self, PyObject *const *args, Py_ssize_t n)
{
    bool usable[LEADS];
    if (!expect_arguments(n, 3) || !take_flags(args[2], self->votes.leads, usable))
        return NULL;
    const long age = PyLong_AsLong(args[0]), later = PyLong_AsLong(args[1]);
    if (PyErr_Occurred() || !expect(age >= 0 && later >= 0 && later <= ROWS))
        return NULL;
    votes_beat(&self->votes, age, later, usable);
    Py_RETURN_NONE;
}

static PyObject *voting_voices(VotingObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(self->voices);
}

static PyMethodDef voting_methods[] = {
    {"push", (PyCFunction)voting_push, METH_O, "See Voting.push of runtime/rhythm/voting.py."},
    {"skip", (PyCFunction)voting_skip, METH_O, "See Voting.skip."},
    {"join", (PyCFunction)(void (*)(void))voting_join, METH_FASTCALL, "See Voting.join."},
    {"relearn", (PyCFunction)voting_relearn, METH_NOARGS, "See Voting.relearn."},
    {"beat", (PyCFunction)(void (*)(void))voting_beat, METH_FASTCALL, "See Voting.beat."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef voting_attributes[] = {
    {"voices", (getter)voting_voices, NULL, "Leads that have a voice now.", NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot voting_slots[] = {{Py_tp_init, voting_init},
                                     {Py_tp_dealloc, voting_deallocate},
                                     {Py_tp_methods, voting_methods},
                                     {Py_tp_getset, voting_attributes},
                                     {0, NULL}};
static PyType_Spec voting_spec = {
    "ecg_edge.runtime.native._kernels.Voting", sizeof(VotingObject), 0, Py_TPFLAGS_DEFAULT, voting_slots};

/* BeatDetector */

typedef struct {
    PyObject_HEAD
    Detector detector;
    PyObject *beat; /* what beats are told as: called with sample, height, sharpness */
} DetectorObject;

static int beats_init(DetectorObject *self, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    PyObject *beat;
    if (!PyArg_ParseTuple(args, "O", &beat))
        return -1;
    Py_XDECREF(self->beat);
    self->beat = Py_NewRef(beat);
    detector_init(&self->detector);
    return 0;
}

static void beats_deallocate(DetectorObject *self)
{
    Py_XDECREF(self->beat);
    deallocate((PyObject *)self);
}

static PyObject *beats_forget(DetectorObject *self, PyObject *unused)
{
    (void)unused;
    detector_forget(&self->detector);
    Py_RETURN_NONE;
}

static PyObject *beats_relearn(DetectorObject *self, PyObject *unused)
{
    (void)unused;
    detector_relearn(&self->detector);
    Py_RETURN_NONE;
}

static PyObject *beats_skip(DetectorObject *self, PyObject *samples)
{
    const long count = PyLong_AsLong(samples);
    if (PyErr_Occurred())
        return NULL;
    detector_skip(&self->detector, count);
    Py_RETURN_NONE;
}

static PyObject *beats_take(DetectorObject *self, PyObject *joined)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(joined, &buffer, PyBUF_SIMPLE))
        return NULL;
    const size_t count = (size_t)buffer.len / (3 * sizeof(double));
    const bool fits = expect(count >= RISE && count * 3 <= JOINED && count * 3 * sizeof(double) == (size_t)buffer.len);
    if (fits)
        detector_take(&self->detector, buffer.buf, count);
    PyBuffer_Release(&buffer);
    return fits ? Py_NewRef(Py_None) : NULL;
}

static PyObject *beats_walk(DetectorObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (!expect_arguments(n, 2))
        return NULL;
    const long samples = PyLong_AsLong(args[0]);
    Detector *detector = &self->detector;
    const long place = detector->end - detector->start;
    if (PyErr_Occurred() ||
        !expect(samples > 0 && samples <= BLOCK && place >= 0 && place + samples <= (long)detector->joined_count))
        return NULL;
    Beat found[MOST_BEATS];
    const size_t count = detector_walk(detector, samples, PyObject_IsTrue(args[1]) == 1, found);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *one =
            PyObject_CallFunction(self->beat, "ldd", found[i].sample, found[i].height, found[i].sharpness);
        if (!one || PyList_SetItem(list, (Py_ssize_t)i, one)) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *beats_level(DetectorObject *self, void *unused)
{
    (void)unused;
    return PyFloat_FromDouble(self->detector.level);
}

static PyObject *beats_noise(DetectorObject *self, void *unused)
{
    (void)unused;
    return PyFloat_FromDouble(self->detector.noise);
}

static PyObject *beats_end(DetectorObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(self->detector.end);
}

static PyObject *beats_learning(DetectorObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->detector.level == 0.0);
}

static PyObject *beats_settled(DetectorObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(detector_settled(&self->detector));
}

static PyObject *beats_searched(DetectorObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(detector_searched(&self->detector));
}

static PyMethodDef beats_methods[] = {
    {"forget", (PyCFunction)beats_forget, METH_NOARGS, "See BeatDetector.forget of runtime/rhythm/beats.py."},
    {"skip", (PyCFunction)beats_skip, METH_O, "See BeatDetector.skip."},
    {"relearn", (PyCFunction)beats_relearn, METH_NOARGS, "See BeatDetector.relearn."},
    {"take", (PyCFunction)beats_take, METH_O, "See BeatDetector.take; of doubles in one piece."},
    {"walk", (PyCFunction)(void (*)(void))beats_walk, METH_FASTCALL, "See BeatDetector.walk."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef beats_attributes[] = {
    {"level", (getter)beats_level, NULL, "Height of the recent beats, 0 while learning.", NULL},
    {"noise", (getter)beats_noise, NULL, "Height of the recent peaks that are no beats.", NULL},
    {"end", (getter)beats_end, NULL, "Samples so far.", NULL},
    {"learning", (getter)beats_learning, NULL, "Whether no beat is known yet.", NULL},
    {"settled", (getter)beats_settled, NULL, "Whether the filters have settled.", NULL},
    {"searched", (getter)beats_searched, NULL, "Sample up to which every peak has been judged.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot beats_slots[] = {{Py_tp_init, beats_init},
                                    {Py_tp_dealloc, beats_deallocate},
                                    {Py_tp_methods, beats_methods},
                                    {Py_tp_getset, beats_attributes},
                                    {0, NULL}};
static PyType_Spec beats_spec = {
    "ecg_edge.runtime.native._kernels.BeatDetector", sizeof(DetectorObject), 0, Py_TPFLAGS_DEFAULT, beats_slots};

/* Module */

static PyMethodDef functions[] = {
    {"use", (PyCFunction)py_use, METH_O, "Take the loops of so many doubles at once."},
    {"width", (PyCFunction)py_width, METH_NOARGS, "Return how many doubles the loops take at once."},
    {"within", (PyCFunction)(void (*)(void))py_within, METH_FASTCALL, "See front_end.h."},
    {"shift", (PyCFunction)(void (*)(void))py_shift, METH_FASTCALL, "See front_end.h."},
    {"any_beyond", (PyCFunction)(void (*)(void))py_any_beyond, METH_FASTCALL, "See front_end.h."},
    {"highpass", (PyCFunction)(void (*)(void))py_highpass, METH_FASTCALL, "See front_end.h."},
    {"look_at_hop", (PyCFunction)(void (*)(void))py_look_at_hop, METH_FASTCALL, "See front_end.h."},
    {"span_columns", (PyCFunction)(void (*)(void))py_span_columns, METH_FASTCALL, "See rhythm.h."},
    {"measure_windows", (PyCFunction)(void (*)(void))py_measure_windows, METH_FASTCALL, "See rhythm.h."},
    {"correlation", (PyCFunction)(void (*)(void))py_correlation, METH_FASTCALL, "See rhythm.h."},
    {"blend", (PyCFunction)(void (*)(void))py_blend, METH_FASTCALL, "See rhythm.h."},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    if (!type)
        return -1;
    const int failed = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return failed;
}

static int execute(PyObject *module)
{
    loops = wide_loops() ? wide_loops() : narrow_loops();
    return PyModule_AddIntConstant(module, "VERSION", VERSION) ||
                   add_type(module, "Resampler", &resampler_spec) || add_type(module, "Transform", &transform_spec) ||
                   add_type(module, "Spectrum", &spectrum_spec) || add_type(module, "Filters", &filters_spec) || add_type(module, "Voting", &voting_spec) ||
                   add_type(module, "BeatDetector", &beats_spec)
               ? -1
               : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "Compiled loops of the runtime's hot path.", 0, functions, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
