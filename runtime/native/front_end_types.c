/* The front end's loops for Python. */
#include "arrays.h"
#include "loops.h"

#include <stdlib.h>
#include <string.h>

/* Functions */

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
    const Loops *with = loops_for(self->resampler.channels);
    const size_t beyond =
        with->resample(&self->resampler, in->buf, start->buf, kernel->buf, (size_t)rows, out->buf);
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

/* All of it */

static PyMethodDef functions[] = {
    {"within", (PyCFunction)(void (*)(void))py_within, METH_FASTCALL, "See front_end.h."},
    {"shift", (PyCFunction)(void (*)(void))py_shift, METH_FASTCALL, "See front_end.h."},
    {"any_beyond", (PyCFunction)(void (*)(void))py_any_beyond, METH_FASTCALL, "See front_end.h."},
    {"highpass", (PyCFunction)(void (*)(void))py_highpass, METH_FASTCALL, "See front_end.h."},
    {"look_at_hop", (PyCFunction)(void (*)(void))py_look_at_hop, METH_FASTCALL, "See front_end.h."},
    {NULL, NULL, 0, NULL},
};

int add_front_end(PyObject *module)
{
    const int failed = PyModule_AddFunctions(module, functions) || add_type(module, "Resampler", &resampler_spec) ||
                       add_type(module, "Transform", &transform_spec);
    return failed ? -1 : 0;
}
