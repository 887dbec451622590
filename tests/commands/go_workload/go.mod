module workload

go 1.20
