/* From Python to C and back: arrays by the buffer protocol, checked, and what is told of them. */
#ifndef ECG_EDGE_ARRAYS_H
#define ECG_EDGE_ARRAYS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000 /* one build serves Python 3.11 and what comes after */
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#define MOST_BUFFERS 6

typedef struct {
    Py_buffer buffer[MOST_BUFFERS];
    int count;
} Buffers;

/* Give all back; returns NULL, for an exception to go on. */
void *release(Buffers *buffers);

/* Borrow an array of `format` ('d', 'i', 'h' or 'B') with `ndim` axes; NULL with an exception set where it is another.
 *
 * All its axes but the first must be in one piece, and the first, too, unless `rows_apart`. */
Py_buffer *borrow(Buffers *buffers, PyObject *array, char format, int ndim, bool writable, bool rows_apart);

/* Return whether sizes fit, with an exception set where they do not. */
bool expect(bool fits);
bool expect_arguments(Py_ssize_t given, Py_ssize_t wanted);

/* Read a tuple of bools; false with an exception set for anything else. */
bool take_flags(PyObject *tuple, size_t count, bool *flags);

PyObject *list_of_longs(const int32_t *values, size_t count);
PyObject *list_of_doubles(const double *values, size_t count);
PyObject *list_of_rows(const double *values, size_t rows, size_t columns);
PyObject *tuple_of_flags(const bool *flags, size_t count);

/* Of types that take no part in reference cycles: free the object, whatever it owned has been given back. */
void deallocate(PyObject *self);
int add_type(PyObject *module, const char *name, PyType_Spec *spec);

/* What front_end_types.c, rhythm_types.c and beats_types.c add to the module. */
int add_front_end(PyObject *module);
int add_rhythm(PyObject *module);
int add_beats(PyObject *module);

#endif
