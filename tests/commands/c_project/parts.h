int one(int value);
int two(int value);
int three(int value);
int four(int value);
