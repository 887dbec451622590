#include "parts.h"
int one(int value)
{
    return value;
}
