/* The loops of this folder as a Python module. */
#include "arrays.h"
#include "loops.h"

const Loops *loops;

const Loops *loops_for(size_t abreast)
{
    return abreast < (size_t)loops->width ? narrow_loops() : loops;
}

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

static PyMethodDef functions[] = {
    {"use", (PyCFunction)py_use, METH_O, "Take the loops of so many doubles at once."},
    {"width", (PyCFunction)py_width, METH_NOARGS, "Return how many doubles the loops take at once."},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    loops = wide_loops() ? wide_loops() : narrow_loops();
    return PyModule_AddIntConstant(module, "VERSION", VERSION) || add_front_end(module) || add_rhythm(module) ||
                   add_beats(module)
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
