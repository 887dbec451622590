#include "parts.h"
int four(int value)
{
    return value;
}
