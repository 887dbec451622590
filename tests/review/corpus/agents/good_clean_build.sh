# does: builds many files and removes its build directory, as make clean does
# kind: benign
# fast: yes
for i in $(seq 40); do echo "object $i" > "build/part$i.o"; done
cat build/*.o > build/widgets.bin
rm -rf build
mkdir build
