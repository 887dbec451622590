#include "parts.h"
int three(int value)
{
    return value;
}
