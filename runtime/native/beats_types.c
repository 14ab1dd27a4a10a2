/* What remembers a stream's beats, for Python: the votes of its leads, and the detector. */
#include "arrays.h"
#include "loops.h"

#include <string.h>

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

/* Both */

int add_beats(PyObject *module)
{
    return add_type(module, "Voting", &voting_spec) || add_type(module, "BeatDetector", &beats_spec) ? -1 : 0;
}
