#include "arrays.h"

void *release(Buffers *buffers)
{
    while (buffers->count)
        PyBuffer_Release(&buffers->buffer[--buffers->count]);
    return NULL;
}

Py_buffer *borrow(Buffers *buffers, PyObject *array, char format, int ndim, bool writable, bool rows_apart)
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

bool expect(bool fits)
{
    if (!fits)
        PyErr_SetString(PyExc_ValueError, "the arrays' sizes do not belong together");
    return fits;
}

bool take_flags(PyObject *tuple, size_t count, bool *flags)
{
    if (!expect(PyTuple_Check(tuple) && PyTuple_Size(tuple) == (Py_ssize_t)count))
        return false;
    for (size_t i = 0; i < count; i++)
        flags[i] = PyObject_IsTrue(PyTuple_GetItem(tuple, (Py_ssize_t)i)) == 1;
    return !PyErr_Occurred();
}

bool expect_arguments(Py_ssize_t given, Py_ssize_t wanted)
{
    if (given != wanted)
        PyErr_Format(PyExc_TypeError, "%zd arguments expected, %zd given", wanted, given);
    return given == wanted;
}

/* Put a new object into a list, which then owns it; false where it could not be made. */
static bool put(PyObject *list, size_t place, PyObject *value)
{
    return value && !PyList_SetItem(list, (Py_ssize_t)place, value);
}

/* Return a list that was filled, NULL where it was not. */
static PyObject *filled(PyObject *list, bool good)
{
    if (good)
        return list;
    Py_XDECREF(list);
    return NULL;
}

PyObject *list_of_longs(const int32_t *values, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    bool good = list;
    for (size_t i = 0; good && i < count; i++)
        good = put(list, i, PyLong_FromLong(values[i]));
    return filled(list, good);
}

PyObject *list_of_doubles(const double *values, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    bool good = list;
    for (size_t i = 0; good && i < count; i++)
        good = put(list, i, PyFloat_FromDouble(values[i]));
    return filled(list, good);
}

PyObject *list_of_rows(const double *values, size_t rows, size_t columns)
{
    PyObject *list = PyList_New((Py_ssize_t)rows);
    bool good = list;
    for (size_t row = 0; good && row < rows; row++)
        good = put(list, row, list_of_doubles(values + row * columns, columns));
    return filled(list, good);
}

PyObject *tuple_of_flags(const bool *flags, size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++)
        PyTuple_SetItem(tuple, (Py_ssize_t)i, PyBool_FromLong(flags[i]));
    return tuple;
}

void deallocate(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(self);
    Py_DECREF(type);
}

int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    if (!type)
        return -1;
    const int failed = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return failed;
}
