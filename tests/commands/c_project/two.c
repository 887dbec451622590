#include "parts.h"
int two(int value)
{
    return value;
}
