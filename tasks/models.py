"""Work that nobody is watching. (Filled by the tasks app's own issue.)"""
